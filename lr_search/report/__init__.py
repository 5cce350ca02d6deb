"""The report: pandas tables, matplotlib figures and one HTML page, drawn from a storage alone."""

__all__: list[str] = []
