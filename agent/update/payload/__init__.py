# SPDX-License-Identifier: MIT
"""Payloads: what the repository holds for an image, whole or as a delta. See docs/payload.md."""
