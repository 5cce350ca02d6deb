"""lr_search within Transformers."""
