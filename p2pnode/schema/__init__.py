"""The local API's typed requests, answers and events: what clients and the node agree on.

Every request names its JSON-RPC method and its answer in `METHODS`. Ids are lower-case base32
text (`p2pnode.ids.id_text`), times are integer Unix seconds of this node's own clock (a caption,
never an order), durations are seconds. Every answer and event carries `schema: 1`.
"""

from p2pnode.schema.base import (
    SCHEMA as SCHEMA,
    UNREADABLE as UNREADABLE,
    A as A,
    Answer as Answer,
    Asks as Asks,
    Done as Done,
    Name as Name,
    Page as Page,
    Request as Request,
    Seconds as Seconds,
)
from p2pnode.schema.contacts import (
    BlockContact as BlockContact,
    Contact as Contact,
    ContactRef as ContactRef,
    Contacts as Contacts,
    ListContacts as ListContacts,
    RemoveContact as RemoveContact,
    RenameContact as RenameContact,
    RotateAddress as RotateAddress,
    VerifyContact as VerifyContact,
)
from p2pnode.schema.courier import (
    CourierRead as CourierRead,
    CourierWritten as CourierWritten,
    ReadCourier as ReadCourier,
    WriteCourier as WriteCourier,
)
from p2pnode.schema.events import (
    AckEvents as AckEvents,
    BeginEvents as BeginEvents,
    Begun as Begun,
    Consumer as Consumer,
    Event as Event,
    EventKind as EventKind,
    Events as Events,
    Place as Place,
    TakeEvents as TakeEvents,
)
from p2pnode.schema.keeping import (
    AnswerProposal as AnswerProposal,
    GetRules as GetRules,
    Propose as Propose,
    Rule as Rule,
    Rules as Rules,
    SetRetention as SetRetention,
)
from p2pnode.schema.messages import (
    MAX_TEXT as MAX_TEXT,
    Because as Because,
    GetHistory as GetHistory,
    History as History,
    Message as Message,
    Redact as Redact,
    Send as Send,
    Sent as Sent,
    State as State,
    WaitState as WaitState,
    Why as Why,
    WhyEvent as WhyEvent,
)
from p2pnode.schema.methods import CALLS as CALLS, LONG as LONG, METHODS as METHODS
from p2pnode.schema.pairing import (
    AnswerPairing as AnswerPairing,
    CancelPairing as CancelPairing,
    JoinCode as JoinCode,
    NextStep as NextStep,
    Pairing as Pairing,
    PairingStep as PairingStep,
    ShowCode as ShowCode,
)
from p2pnode.schema.peers import (
    GetMap as GetMap,
    GetPeers as GetPeers,
    Map as Map,
    MapEntry as MapEntry,
    Meetings as Meetings,
    Peer as Peer,
    Peers as Peers,
)
from p2pnode.schema.rights import (
    CancelErasures as CancelErasures,
    Erase as Erase,
    Erasing as Erasing,
    Erasures as Erasures,
    Export as Export,
    Exported as Exported,
    GetErasures as GetErasures,
)
from p2pnode.schema.service import Service as Service
from p2pnode.schema.status import (
    BackupStatus as BackupStatus,
    CustodyStatus as CustodyStatus,
    Diagnose as Diagnose,
    Diagnosis as Diagnosis,
    Finding as Finding,
    GetIdentity as GetIdentity,
    GetMetrics as GetMetrics,
    GetReady as GetReady,
    GetStatus as GetStatus,
    Identity as Identity,
    LinkStatus as LinkStatus,
    Metrics as Metrics,
    OutboxStatus as OutboxStatus,
    ProgramStatus as ProgramStatus,
    Ready as Ready,
    Status as Status,
    TransportStatus as TransportStatus,
)
from p2pnode.schema.upkeep import (
    BackupMade as BackupMade,
    ChangeSecret as ChangeSecret,
    CreateBackup as CreateBackup,
    Lock as Lock,
    Reload as Reload,
    Reloaded as Reloaded,
    Repaired as Repaired,
    Unlock as Unlock,
)
