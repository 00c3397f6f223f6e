# SPDX-License-Identifier: MIT
"""Settings on the host's side: layers, groups, what each board is to have, and what it has."""
