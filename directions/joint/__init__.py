"""The penalty minimised by joint diagonalisation: measure Hessians once, then find the rotation that diagonalises them.

Beside :mod:`directions.discovery`'s stochastic steps, for which it is a start and a yardstick. In the order of the
flow: :mod:`~directions.joint.symmetric` and :mod:`~directions.joint.moments` hold what is measured,
:mod:`~directions.joint.differences` and :mod:`~directions.joint.gradients` measure it at a point,
:mod:`~directions.joint.measure` at many; :mod:`~directions.joint.jacobi` diagonalises from one start,
:mod:`~directions.joint.solve` from several, and says how far the answer can be trusted.
"""
