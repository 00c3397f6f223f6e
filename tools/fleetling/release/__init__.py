# SPDX-License-Identifier: MIT
"""Releases: from images and applications to a signed repository of plain files."""
