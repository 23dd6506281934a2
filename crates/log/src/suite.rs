//! The conformance suite: what every store must do, written against the trait.
//!
//! Each public function is one behaviour and panics when the store does not show it. `make` gives
//! an empty store each time. [`event_log_suite!`](crate::event_log_suite) turns every behaviour
//! into a test of its own.

#![expect(clippy::unwrap_used, reason = "a behaviour that is missing ends the test here")]

mod grants;
mod heads;
mod inbox;
mod lease;
mod race;
mod runs;
mod support;
mod unowned;

pub use grants::*;
pub use heads::*;
pub use inbox::*;
pub use lease::*;
pub use race::*;
pub use runs::*;
pub use unowned::*;

use crate::EventLog;

/// Makes an empty store; the store lives as long as the box.
pub type Make<'a> = &'a dyn Fn() -> Box<dyn EventLog>;

/// Checks every behaviour, one after the other.
pub fn run_all(make: Make<'_>) {
    crate::each_behaviour! { call make }
}

/// Writes one `#[test]` per behaviour. The argument is a function that makes an empty store:
/// `event_log_suite!(|| Box::new(open_in_a_new_folder()))`.
#[macro_export]
macro_rules! event_log_suite {
    ($make:expr) => {
        $crate::each_behaviour! { test $make }
    };
}

/// The one list of behaviours.
#[doc(hidden)]
#[macro_export]
macro_rules! each_behaviour {
    ($mode:ident $make:expr) => {
        $crate::each_behaviour! { @$mode $make;
            create_makes_the_creator_the_owner
            create_refuses_a_taken_id
            create_refuses_to_begin_in_the_middle
            append_numbers_events_without_gaps
            append_refuses_a_writer_that_is_behind
            append_refuses_a_lease_that_was_taken_over
            append_refuses_a_lease_that_was_given_back
            append_refuses_the_lease_of_another_run
            append_refuses_an_unknown_run
            append_without_events_changes_the_progress_only
            time_never_goes_back
            events_are_read_in_pages
            events_come_back_as_they_were
            progress_is_kept_whole
            acquire_takes_a_released_run
            acquire_refuses_a_living_holder
            acquire_takes_over_from_a_dead_holder
            acquire_refuses_an_unknown_run
            acquire_lets_the_question_use_the_store
            acquire_asks_again_after_a_sign_of_life
            renew_moves_the_sign_of_life
            renew_refuses_a_lost_lease
            release_is_idempotent
            release_leaves_a_later_owner_alone
            unowned_append_reaches_a_free_run
            unowned_append_reaches_a_run_of_the_seen_holder
            unowned_append_without_fence_leaves_the_owner
            unowned_append_with_fence_shuts_the_owner_out
            unowned_append_does_nothing_when_the_run_has_moved_on
            submit_is_answered_once_per_key
            submit_remembers_every_settlement
            submit_refuses_an_unknown_run
            submit_refuses_beyond_a_thousand_open_commands
            inbox_keeps_the_order_of_arrival
            settling_is_part_of_the_append
            settling_keeps_the_first_answer
            settling_reaches_only_the_own_run
            heads_are_listed_newest_first
            heads_are_paged_without_gaps
            heads_match_every_filter
            heads_show_lagging_views
            totals_add_up_a_task
            views_written_never_goes_back
            grants_are_found_by_key
            a_grant_given_again_stays_as_it_was
            a_grant_is_used_with_the_append_or_not_at_all
            a_grant_without_a_limit_is_never_used_up
            a_revoked_grant_is_kept_and_cannot_be_used
            grants_match_every_filter
            one_of_many_acquirers_wins
            one_of_many_creators_wins
            many_appenders_lose_and_double_nothing
            many_submitters_of_one_key_make_one_command
        }
    };
    (@test $make:expr; $($behaviour:ident)*) => {
        $(
            #[test]
            fn $behaviour() {
                $crate::suite::$behaviour(&$make);
            }
        )*
    };
    (@call $make:expr; $($behaviour:ident)*) => {
        $($crate::suite::$behaviour($make);)*
    };
}
