"""lr_search within skorch."""
