# SPDX-License-Identifier: MIT
"""The hub: the service that signs certificates and keeps what the fleet says."""
