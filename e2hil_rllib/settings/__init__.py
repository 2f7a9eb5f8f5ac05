"""From a YAML file to checked settings to a configuration."""
