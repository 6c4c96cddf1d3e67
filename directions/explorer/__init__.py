"""The web page of a direction file, on this machine only: sliders, names, pictures.

In the order of the flow: :mod:`~directions.explorer.body` reads what a page sends, :mod:`~directions.explorer.view` is
what it wants to see, :mod:`~directions.explorer.painter` makes the picture (one thread at a time, by
:mod:`~directions.explorer.fair_lock`), :mod:`~directions.explorer.turns` decides whose is next,
:mod:`~directions.explorer.animation` and :mod:`~directions.explorer.snippet` make what is saved and copied,
:mod:`~directions.explorer.open_file` keeps the file's annotations; :mod:`~directions.explorer.guard` refuses strangers,
:mod:`~directions.explorer.app` joins all of it, and :mod:`~directions.explorer.server` serves it.
"""
