"""Turns what the operating system says about directories into changes; the only importers of watchdog."""
