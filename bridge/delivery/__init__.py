"""From the journal to the destinations: one forwarder each, at its own pace.

A record counts as delivered only by its destination's own answer, and a destination's cursor
moves only over records so answered for or kept as dead letters; there is no limit on tries. What
a crash or a cancellation leaves unanswered is sent again, with the same `log.record.uid`.
"""
