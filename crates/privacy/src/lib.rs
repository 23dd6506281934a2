//! Takes secrets out of streams before anything is kept, shown or sent.
