from directions.generators.layers import EditsLayers, chosen_layers, described_layers, edited_images  # shim

__all__ = ["EditsLayers", "chosen_layers", "described_layers", "edited_images"]
