"""Tests of fsherald: unit, contract, integration (real brokers), acceptance (the running service)."""
