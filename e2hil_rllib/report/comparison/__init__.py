"""Report of a comparison: tables and figures over trials."""
