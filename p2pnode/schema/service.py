"""The door through which the API reaches a node."""

from collections.abc import Sequence

from p2pnode.errors import LocalError
from p2pnode.schema.base import Answer, Request
from p2pnode.schema.messages import Send


class Service:
    """What the API server needs of a node: one door for every method. `p2pnode.node` derives it."""

    async def call(self, request: Request) -> Answer:
        """Carry out a request; raises LocalError for what a person can understand."""
        raise LookupError(type(request).__name__)

    async def send_all(self, requests: Sequence[Send]) -> list[Answer | LocalError]:
        """Send messages in their order; return each one's answer or error."""
        answers: list[Answer | LocalError] = []
        for request in requests:
            try:
                answers.append(await self.call(request))
            except LocalError as error:
                answers.append(error)
        return answers
