"""The web page of a direction file, on this machine only: sliders, names, pictures.

In the order of the flow: `directions.explorer.body` reads what a page sends, `directions.explorer.view` is
what it wants to see, `directions.explorer.painter` makes the picture (one thread at a time, by
`directions.explorer.fair_lock`), `directions.explorer.turns` decides whose is next,
`directions.explorer.animation` and `directions.explorer.snippet` make what is saved and copied,
`directions.explorer.open_file` keeps the file's annotations; `directions.explorer.guard` refuses strangers,
`directions.explorer.app` joins all of it, and `directions.explorer.server` serves it.
"""
