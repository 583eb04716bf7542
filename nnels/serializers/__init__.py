"""Rows and envelopes under the wire's names: simple JSON, JSON:API, HAL, single; and the OPTIONS structures."""
