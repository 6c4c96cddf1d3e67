"""Images to train on: rendered scenes, folders of images, pairs; cut to size once, then memory-mapped."""
