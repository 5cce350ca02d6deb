"""lr_search within Lightning."""
