"""A direction file to pictures: animations, an overview and a contact sheet.

In the order of the flow: :mod:`~directions.rendering.path` says where along a direction each frame is,
:mod:`~directions.rendering.frames` makes the images, :mod:`~directions.rendering.palette` and
:mod:`~directions.rendering.captions` prepare them for :mod:`~directions.rendering.encode` and
:mod:`~directions.rendering.sheets`, which write; :mod:`~directions.rendering.render` does it all.
"""
