# SPDX-License-Identifier: MIT
"""The Update Framework on the board: client workflow of specification 1.0.34, section 5.

document    signed JSON, read where it lies: strict grammar, members, canonical form
metadata    types of the fields that TUF defines; the limits of a build
keys        one signature, one key: ECDSA P-256, and RSA and Ed25519 where the build has them
trust       what is trusted and when: thresholds, versions, expiry, hashes. No I/O
delegations which target a role describes, and to whom it delegates a path. No I/O
client      the workflow: stored files, fetched files, order of both
store       files on the board
artifact    the bytes of a target against its signed length and hashes
"""
