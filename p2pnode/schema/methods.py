"""The methods: which request asks for which answer, under which JSON-RPC name."""

from p2pnode.schema import (
    contacts,
    courier,
    events,
    keeping,
    messages,
    pairing,
    peers,
    rights,
    status,
    upkeep,
)
from p2pnode.schema.base import Answer, Done, Request

METHODS: dict[str, tuple[type[Request], type[Answer]]] = {
    "identity.get": (status.GetIdentity, status.Identity),
    "node.ready": (status.GetReady, status.Ready),
    "node.status": (status.GetStatus, status.Status),
    "node.unlock": (upkeep.Unlock, Done),
    "node.lock": (upkeep.Lock, Done),
    "node.secret": (upkeep.ChangeSecret, Done),
    "node.backup": (upkeep.CreateBackup, upkeep.BackupMade),
    "node.diagnose": (status.Diagnose, status.Diagnosis),
    "node.reload": (upkeep.Reload, upkeep.Reloaded),
    "node.metrics": (status.GetMetrics, status.Metrics),
    "peers.list": (peers.GetPeers, peers.Peers),
    "peers.map": (peers.GetMap, peers.Map),
    "pair.show": (pairing.ShowCode, pairing.Pairing),
    "pair.join": (pairing.JoinCode, pairing.Pairing),
    "pair.next": (pairing.NextStep, pairing.PairingStep),
    "pair.answer": (pairing.AnswerPairing, pairing.PairingStep),
    "pair.cancel": (pairing.CancelPairing, Done),
    "contacts.list": (contacts.ListContacts, contacts.Contacts),
    "contacts.get": (contacts.ContactRef, contacts.Contact),
    "contacts.rename": (contacts.RenameContact, contacts.Contact),
    "contacts.remove": (contacts.RemoveContact, Done),
    "contacts.block": (contacts.BlockContact, contacts.Contact),
    "contacts.rotate": (contacts.RotateAddress, Done),
    "contacts.verify": (contacts.VerifyContact, contacts.Contact),
    "message.send": (messages.Send, messages.Sent),
    "message.wait": (messages.WaitState, messages.Message),
    "message.history": (messages.GetHistory, messages.History),
    "message.why": (messages.Why, messages.Because),
    "message.redact": (messages.Redact, messages.Message),
    "conversation.rules": (keeping.GetRules, keeping.Rules),
    "conversation.retain": (keeping.SetRetention, keeping.Rules),
    "conversation.propose": (keeping.Propose, keeping.Rules),
    "conversation.answer": (keeping.AnswerProposal, keeping.Rules),
    "data.export": (rights.Export, rights.Exported),
    "data.erase": (rights.Erase, rights.Erasures),
    "data.cancel": (rights.CancelErasures, rights.Erasures),
    "data.erasures": (rights.GetErasures, rights.Erasures),
    "courier.write": (courier.WriteCourier, courier.CourierWritten),
    "courier.read": (courier.ReadCourier, courier.CourierRead),
    "events.take": (events.TakeEvents, events.Events),
    "events.ack": (events.AckEvents, Done),
    "events.begin": (events.BeginEvents, events.Begun),
}
"""JSON-RPC method → (request, answer)."""

CALLS: dict[type[Request], tuple[str, type[Answer]]] = {
    request: (method, answer) for method, (request, answer) in METHODS.items()
}
"""The same the other way round: request → (JSON-RPC method, answer)."""

LONG: tuple[type[Request], ...] = (
    upkeep.Unlock,
    upkeep.ChangeSecret,
    upkeep.CreateBackup,
    status.Diagnose,
    rights.Export,
    courier.WriteCourier,
    courier.ReadCourier,
)
"""Requests that may take long without a timeout of their own."""
