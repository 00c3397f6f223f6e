# SPDX-License-Identifier: MIT
"""Keys, signatures and the encodings they travel in. Loaded when there is work, then released."""
