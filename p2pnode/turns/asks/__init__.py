"""Everything that can ask for a turn. One frozen record each; bytes in it are still foreign
where the field says raw. Which turn serves which is in `turns/commit.py`."""

from p2pnode.turns.asks.envelopes import (
    Acknowledged as Acknowledged,
    Arrived as Arrived,
    BY_COURIER as BY_COURIER,
    Backlog as Backlog,
    CarriedIds as CarriedIds,
    Couriered as Couriered,
    Examine as Examine,
    Fetch as Fetch,
    FetchCarried as FetchCarried,
    ForStrangers as ForStrangers,
    GetLeafIds as GetLeafIds,
    GetLeaves as GetLeaves,
    GetRecent as GetRecent,
    HaveCome as HaveCome,
    Offered as Offered,
    Ordered as Ordered,
    OwnParcels as OwnParcels,
    Spread as Spread,
)
from p2pnode.turns.asks.links import (
    Baseline as Baseline,
    FRIEND as FRIEND,
    GetBaselines as GetBaselines,
    GetLane as GetLane,
    GetPeers as GetPeers,
    LaneKept as LaneKept,
    LinkId as LinkId,
    LinkUp as LinkUp,
    Met as Met,
    PassTold as PassTold,
    Stated as Stated,
    Step as Step,
    Told as Told,
)
from p2pnode.turns.asks.pairing import (
    BeginMutual as BeginMutual,
    Confirm as Confirm,
    EndPairing as EndPairing,
    Keep as Keep,
    MutualBacklog as MutualBacklog,
    Refused as Refused,
    ShowMutual as ShowMutual,
)
from p2pnode.turns.asks.people import (
    Acknowledge as Acknowledge,
    Begin as Begin,
    Block as Block,
    CancelErasures as CancelErasures,
    Decide as Decide,
    Erase as Erase,
    Propose as Propose,
    Redact as Redact,
    Remove as Remove,
    Rename as Rename,
    Rotate as Rotate,
    Send as Send,
    SetRetention as SetRetention,
    Verify as Verify,
)
from p2pnode.turns.asks.resets import (
    BackedUp as BackedUp,
    PrepareResets as PrepareResets,
    ReturningStated as ReturningStated,
    ReturningUp as ReturningUp,
    StepTwin as StepTwin,
    TwinMet as TwinMet,
)
from p2pnode.turns.asks.upkeep import (
    Collect as Collect,
    LoadPrivate as LoadPrivate,
    PrivateNames as PrivateNames,
    SavePrivate as SavePrivate,
    Upkeep as Upkeep,
)

Ask = (
    Send
    | Arrived
    | Offered
    | Acknowledged
    | Step
    | GetBaselines
    | LinkUp
    | Met
    | Stated
    | Told
    | Backlog
    | Fetch
    | Spread
    | Ordered
    | OwnParcels
    | CarriedIds
    | Couriered
    | FetchCarried
    | GetRecent
    | ForStrangers
    | HaveCome
    | PassTold
    | Examine
    | GetLeaves
    | GetLeafIds
    | ShowMutual
    | EndPairing
    | GetPeers
    | Keep
    | Confirm
    | Refused
    | BeginMutual
    | MutualBacklog
    | Rename
    | Remove
    | Block
    | Rotate
    | LaneKept
    | GetLane
    | PrepareResets
    | ReturningUp
    | ReturningStated
    | StepTwin
    | TwinMet
    | BackedUp
    | Verify
    | Erase
    | CancelErasures
    | SetRetention
    | Propose
    | Decide
    | Redact
    | Collect
    | Acknowledge
    | Begin
    | Upkeep
    | SavePrivate
    | LoadPrivate
    | PrivateNames
)
