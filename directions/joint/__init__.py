"""The penalty minimised by joint diagonalisation: measure Hessians once, then find the rotation that diagonalises them.

Beside `directions.discovery`'s stochastic steps, for which it is a start and a yardstick. In the order of the
flow: `directions.joint.symmetric` and `directions.joint.moments` hold what is measured,
`directions.joint.differences` and `directions.joint.gradients` measure it at a point,
`directions.joint.measure` at many; `directions.joint.jacobi` diagonalises from one start,
`directions.joint.solve` from several, and says how far the answer can be trusted.
"""
