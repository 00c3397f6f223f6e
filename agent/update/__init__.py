# SPDX-License-Identifier: MIT
"""The update wing: TUF client, payload reader, slots, the updater's states."""
