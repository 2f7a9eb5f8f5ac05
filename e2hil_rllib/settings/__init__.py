"""Settings: YAML files, checked sections, presets, and the configuration built from them."""
