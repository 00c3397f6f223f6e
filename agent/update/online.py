# SPDX-License-Identifier: MIT
"""The repository's metadata from the server, each file when it is asked for. Loaded for that."""

from micropython import const

from agent.errors import LinkError

_DEADLINE_S = const(600)


class Online:
    """A source for `catalogue.look`, over one connection."""

    def __init__(self, site, spare):
        self._url = site.url + "metadata/"
        self._http = site.http(_DEADLINE_S)
        self.make_room = self._http.make_room = spare.make_room

    async def read(self, path, longest):
        try:
            return await self._http.read(self._url + path, longest)
        except LinkError as e:
            if e.code == "http-status" and e.detail in ("404", "403"):
                raise LinkError("not-found", path)
            raise

    async def close(self):
        await self._http.close()
