/// Declares the enum together with its names, so that none can be forgotten.
macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// What became of a packet: index of `OUTCOMES`, label of the metric, word that the CLI prints.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Outcome {
            $($(#[$doc])* $variant),+
        }

        impl Outcome {
            /// Every outcome, in the order of their values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for people and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }
    };
}

outcomes! {
    /// Passed up untouched: not addressed to a VIP of ours, or not of a kind that we handle.
    NotOurs = "not_ours",
    /// Passed up: the agent has been silent for longer than the hold time.
    Expired = "expired",
    /// Passed up: the Service (or one of the VIP's) uses the kernel path.
    KernelPath = "kernel_path",
    /// An ARP request for a VIP that this node leads, answered.
    ArpAnswered = "arp_answered",
    /// An ARP request for a VIP that another node leads, dropped.
    ArpSuppressed = "arp_suppressed",
    /// Another MAC announced a VIP that this node leads; passed up, an event to the agent.
    ArpForeignClaim = "arp_foreign_claim",
    /// An echo request to a VIP, answered.
    EchoAnswered = "echo_answered",
    /// Stage one: sent to the backend node.
    Forwarded = "forwarded",
    /// Stage two: a known flow, given to its pod.
    DeliveredKnown = "delivered_known",
    /// Stage two: a new flow, a pod chosen.
    DeliveredNew = "delivered_new",
    /// Stage two: unknown to all owners, given to the pod of its hash.
    DeliveredAtEnd = "delivered_at_end",
    /// Unknown here: handed on to the flow's next owner.
    HandedOn = "handed_on",
    /// Handed to its newest owner to be taken there.
    HandedToTake = "handed_to_take",
    /// Dropped: a header that is cut short or contradicts itself.
    DropMalformed = "drop_malformed",
    /// Dropped: a fragment to a VIP.
    DropFragment = "drop_fragment",
    /// Dropped: TTL would reach zero.
    DropTtl = "drop_ttl",
    /// Dropped: no node has a ready endpoint.
    DropNoBackend = "drop_no_backend",
    /// Dropped: the chosen node has no live data path or no known MAC.
    DropNodeUnreachable = "drop_node_unreachable",
    /// Dropped: a port or protocol of the VIP that no Service has.
    DropNoService = "drop_no_service",
    /// Dropped: an ICMP message to a VIP other than an echo request.
    DropIcmp = "drop_icmp",
    /// Dropped: a handed frame from a MAC that is no peer's.
    DropStranger = "drop_stranger",
    /// Dropped: a handed frame for a Service that this node does not know.
    DropUnknownService = "drop_unknown_service",
    /// Dropped: the flow's end of the list within 3 s of a change of the list; the client sends again.
    DropListChanged = "drop_list_changed",
    /// Dropped: the pod already has this client address and port through another VIP.
    DropReverseTaken = "drop_reverse_taken",
    /// Dropped: a flow or reverse entry could not be written.
    DropFlowTableFull = "drop_flow_table_full",
    /// Egress: a reply that got the VIP back as its source.
    ReplyTranslated = "reply_translated",
    /// Egress: passed on untouched.
    ReplyNotOurs = "reply_not_ours",
    /// Egress: a reply of ours that could not be rewritten, dropped.
    DropReplyMalformed = "drop_reply_malformed",
}

/// What a program does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Up to the kernel's stack, or out at egress.
    Pass,
    Drop,
    /// Back out of the link that it came in by.
    Transmit,
}

impl Outcome {
    /// What an outcome means for the packet.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::NotOurs
            | Self::Expired
            | Self::KernelPath
            | Self::ArpForeignClaim
            | Self::DeliveredKnown
            | Self::DeliveredNew
            | Self::DeliveredAtEnd
            | Self::ReplyTranslated
            | Self::ReplyNotOurs => Verdict::Pass,
            Self::ArpAnswered | Self::EchoAnswered | Self::Forwarded | Self::HandedOn | Self::HandedToTake => {
                Verdict::Transmit
            }
            Self::ArpSuppressed
            | Self::DropMalformed
            | Self::DropFragment
            | Self::DropTtl
            | Self::DropNoBackend
            | Self::DropNodeUnreachable
            | Self::DropNoService
            | Self::DropIcmp
            | Self::DropStranger
            | Self::DropUnknownService
            | Self::DropListChanged
            | Self::DropReverseTaken
            | Self::DropFlowTableFull
            | Self::DropReplyMalformed => Verdict::Drop,
        }
    }

    /// The outcomes of a verdict as a set: bit = value. A test of a bit costs the programs less than a jump table.
    #[must_use]
    pub const fn set_of(verdict: Verdict) -> u64 {
        let (mut set, mut place) = (0, 0);
        while place < Self::ALL.len() {
            if Self::ALL[place].verdict() as u32 == verdict as u32 {
                set |= 1 << place;
            }
            place += 1;
        }
        set
    }
}

/// Length of `OUTCOMES`: room to grow within a layout version.
pub const MAX_OUTCOMES: u32 = 64;
const _: () = assert!(Outcome::ALL.len() <= MAX_OUTCOMES as usize);
