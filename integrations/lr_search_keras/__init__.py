"""lr_search within Keras."""
