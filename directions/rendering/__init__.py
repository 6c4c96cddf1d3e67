"""A direction file to pictures: animations, an overview and a contact sheet.

In the order of the flow: `directions.rendering.path` says where along a direction each frame is,
`directions.rendering.frames` makes the images, `directions.rendering.palette` and
`directions.rendering.captions` prepare them for `directions.rendering.encode` and
`directions.rendering.sheets`, which write; `directions.rendering.render` does it all.
"""
