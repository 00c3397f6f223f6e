# SPDX-License-Identifier: MIT
"""The faults and attacks that the suite shows to be survived: docs/faults.md is made of this.

    python tests/faults.py [WORD ...]   runs the tests named here (those whose id has one of the
                                        words), and writes the document
    python tests/faults.py --text       writes it with the counts that it has

A row is kept when its tests pass; that they fail without the defence is for tests/mutations.py to
show. Counts are those of the last run: a test's parameters, times what it says that it tried.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = [
    "DOCUMENT",
    "ROOT",
    "ROWS",
    "Row",
    "counts_of",
    "mutations_of",
    "names_in",
    "node_of",
    "render",
    "write",
]

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/faults.md"
GROUPS = {
    "P": "Power and flash",
    "U": "What is in an update",
    "N": "Network and repository",
    "D": "Devices and their fleet",
}


@dataclass(frozen=True)
class Row:
    """`tests`: "wing/file test" each, without what is the same in all; none is an open row."""

    id: str
    fault: str
    shown: str
    tests: tuple[str, ...]
    missing: str = ""  # what of it is not shown yet


def row(id: str, fault: str, shown: str, *tests: str, missing: str = "") -> Row:
    return Row(id, fault, shown, tests, missing)


ROWS = [
    row(
        "P-1",
        "cut at or in any operation of an update",
        "old or new, byte exact",
        "virtual/update_cuts an_application",
        "virtual/update_cuts a_firmware",
        "virtual/update_cuts both_together",
    ),
    row(
        "P-2",
        "cut while it goes back",
        "the old, byte exact; no floor has moved",
        "virtual/update_cuts a_reversal",
    ),
    row(
        "P-3",
        "several cuts",
        "all pairs on metadata, random depth 5",
        "virtual/update_schedules pairs_of_cuts_on_metadata",
        "virtual/update_schedules five_cuts_at_random",
        "host/chip_nvs_model a_partition_holds_what_a_dict_holds_across_reopens_and_cuts",
    ),
    row(
        "P-4",
        "cuts while it recovers, ever longer uptimes",
        "it converges",
        "virtual/update_schedules uptimes_that_grow_by_one_operation_converge",
        "virtual/update_schedules pairs_of_cuts_on_metadata",
        "virtual/update_trials a_trial_that_loses_its_power_is_tried_again_three_times_in_all",
        "virtual/update_trials losses_of_power_that_boot_py_ends_condemn_nothing",
    ),
    row(
        "P-5",
        "torn program: its first bytes",
        "old or new",
        "device/chip_nvs_cuts a_cut_leaves_the_old_blob_or_the_new_one",
        "device/chip_nvs_cuts a_cut_leaves_the_old_number_or_the_new_one",
        "device/config_cuts a_cut_in_any_operation_leaves_the_old_settings_or_the_new_ones",
        "virtual/enrolment a_cut_at_every_operation_of_the_first_boot_ends_with_one_identity",
    ),
    row(
        "P-6",
        "torn program: words out of order",
        "old or new",
        "host/chip_nvs_model words_torn_out_of_order_leave_the_old_value_or_the_new_one",
        "device/scrub a_cut_at_and_in_each_operation_loses_nothing_and_is_made_good",
        "virtual/update_cuts an_application",
    ),
    row(
        "P-7",
        "torn erase: none, half, random bits",
        "old or new",
        "virtual/update_cuts a_firmware",
        "device/chip_nvs_cuts a_cut_while_a_page_is_recycled",
    ),
    row(
        "P-9",
        "program or erase that does nothing, read error",
        "read back, noticed, and the update fails clean",
        "virtual/update_attacks flash_that_lies_is_found_before_the_switch",
        "device/scrub flash_that_takes_nothing_is_noticed",
        "device/chip_nvs a_refused_write_takes_the_page_out_of_service_until_the_next_boot",
    ),
    row(
        "P-10",
        "program without erase, misaligned, to the slot that runs",
        "the fake flash raises",
        "device/chip_flash setting_a_bit_without_an_erase_is_a_fault_of_the_program",
        "device/chip_flash misaligned_erases_and_foreign_addresses_are_faults",
        "virtual/update_cuts a_firmware",
    ),
    row(
        "P-11",
        "storage that cannot be written, now or after some writes",
        "the board keeps running, no half update, told once",
        "virtual/update_storage from_any_operation_of_an_update_on",
        "virtual/update_storage in_usual_life_the_board_goes_on_and_says_so",
        "device/events without_a_file_system_events_still_go_out",
        "device/vault a_file_system_that_fails_does_not_stop_the_promotion",
        "device/supervisor a_board_that_cannot_write_still_resets",
        "virtual/damaged_files a_spoilt_block_keeps_no_board_away",
    ),
    row(
        "P-12",
        "storage full",
        "refused before anything is erased",
        "virtual/update_attacks a_full_file_system_is_told_before_anything_is_removed",
        "device/config_change a_full_nvs_leaves_everything_as_it_was",
        "device/chip_nvs a_full_partition_keeps_the_old_value",
    ),
    row(
        "P-13",
        "leftovers and foreign bytes",
        "ignored, cleaned",
        "device/chip_nvs foreign_bytes_are_ignored_and_cleaned",
        "device/records what_is_cut_short_or_foreign_is_no_record",
        "device/config_change foreign_bytes_on_flash_are_no_settings",
        "virtual/agent_life a_spoilt_nvs_leaves_the_board_up",
        "virtual/agent_life a_damaged_slot_falls_back_and_no_slot_leaves_a_prompt",
        "virtual/update_trials a_slot_with_any_wrong_file_is_passed_over",
    ),
    row(
        "P-14",
        "otadata in every combination; a bootloader without rollback",
        "an image runs, the update comes to an end; the missing rollback is reported",
        "device/chip_boot every_pair_of_states",
        "virtual/update_trials whatever_otadata_says_a_signed_image_runs_and_it_comes_to_an_end",
        "virtual/update_trials a_bootloader_without_rollback_is_reported",
    ),
    row(
        "P-15",
        "cut inside the confirmation",
        "confirmed, or tried again within a limit",
        "virtual/update_cuts a_firmware",
        "virtual/update_trials a_trial_that_loses_its_power_is_tried_again_three_times_in_all",
    ),
    row(
        "P-17",
        "cut during a factory reset",
        "fully or not",
        "virtual/factory_reset a_cut_at_every_operation_ends_with_the_whole_reset",
        "virtual/factory_reset a_cut_before_the_order_is_written_changes_nothing",
        "device/scrub a_cut_while_a_block_is_zeroed_leaves_its_mark_for_the_next_time",
    ),
    row(
        "P-18",
        "cut during enrolment",
        "goes on; one identity",
        "virtual/enrolment a_cut_at_every_operation_of_the_first_boot_ends_with_one_identity",
        "device/vault a_cut_anywhere_in_the_promotion_ends_with_one_identity",
    ),
    row(
        "P-19",
        "wear",
        "erases of an update and of a day within their budgets",
        "virtual/update_wear erases_of_an_update",
        "virtual/year a_month",
    ),
    row(
        "P-20",
        "a refusal",
        "leaves slots and otadata byte for byte",
        "virtual/update_attacks what_is_not_for_this_board_is_refused_before_it_is_fetched",
        "virtual/update_network metadata_without_end_or_with_a_lying_length",
    ),
    row(
        "U-1",
        "no, bad or empty signature",
        "refused, nothing written",
        "virtual/update_attacks signed_by_the_wrong_key",
        "device/tuf_client thresholds_count_keys",
        "host/tuf_keys garbage_does_not_count_and_does_no_harm",
    ),
    row(
        "U-2",
        "unknown key, key of another role",
        "refused",
        "host/tuf_keys each_role_needs_its_own_keys",
        "host/tuf_delegations each_delegation_has_its_own_keys",
        "virtual/update_attacks signed_by_the_wrong_key",
    ),
    row(
        "U-3",
        "ECDSA's edges: DER, r and s out of range, infinity, no point",
        "as public vectors and a slow model say",
        "host/crypto_vectors nist_signatures",
        "host/crypto_vectors nist_keys",
        "host/crypto_vectors whatever_is_malformed_is_invalid",
        "device/crypto_p256 r_and_s_out_of_range",
        "device/crypto_p256 keys_that_are_no_points",
        "device/crypto_p256 verify_takes_strict_der_only",
    ),
    row(
        "U-4",
        "one key counted twice",
        "counts once",
        "device/tuf_client thresholds_count_keys",
        "host/tuf_keys one_key_under_several_ids_counts_once",
    ),
    row(
        "U-5",
        "downgrade by version or counter",
        "refused; an equal counter is taken",
        "virtual/update_attacks no_way_down_by_version_or_counter",
        "virtual/update the_previous_firmware_comes_back",
    ),
    row(
        "U-7",
        "floor raised too early",
        "moves with the confirmation",
        "virtual/update_trials the_floor_moves_with_the_confirmation_and_not_before",
        "virtual/update_cuts an_application",
        "virtual/update_cuts a_firmware",
    ),
    row(
        "U-8",
        "other board, chip, kind, interpreter",
        "refused before it is fetched",
        "virtual/update_attacks what_is_not_for_this_board_is_refused_before_it_is_fetched",
        "virtual/update_attacks firmware_before_1_25_is_known_by_its_machine_alone",
        "virtual/update_attacks bytecode_of_another_interpreter_is_refused",
    ),
    row(
        "U-9",
        "oversize, truncated, random, wrong image header",
        "refused, otadata byte for byte",
        "virtual/update_trials an_image_that_is_none_never_boots",
        "device/payload_reader a_payload_cut_anywhere_is_refused",
    ),
    row(
        "U-10",
        "bytes after the image",
        "exactly the signed length is hashed",
        "virtual/update_trials bytes_behind_an_image_are_no_part_of_it",
        "device/payload_reader each_header_field_is_checked",
        "host/release_payload bytes_after_the_last_frame_are_refused",
    ),
    row(
        "U-11",
        "what it requires is not there",
        "held, reported",
        "virtual/update_attacks what_it_requires_is_waited_for",
        "virtual/update both_together",
    ),
    row(
        "U-12",
        "wrong base of a delta",
        "refused before a write; the whole image instead",
        "device/payload_reader a_wrong_base_is_refused_before_anything_is_written",
        "virtual/update_trials a_delta_from_something_else_gives_way_to_the_whole",
    ),
    row(
        "U-13",
        "malicious delta or frames",
        "bounded, an error, no crash",
        "device/payload_fuzz random_bytes_are_refused",
        "device/payload_fuzz damage_anywhere_is_refused",
        "device/payload_fuzz damage_under_the_headers_checksum_does_no_harm",
        "device/payload_fuzz damage_under_the_frames_checksum_does_no_harm",
        "device/payload_fuzz damage_inside_the_patch_does_no_harm",
        "host/payload_board the_heap_in_use_stays_below_24_kilobytes",
    ),
    row(
        "U-16",
        "abuse of the parsers",
        "bounded, refused",
        "device/document depth_is_bounded_before_memory_is_taken",
        "device/tuf_document only_strict_json_passes",
        "device/tuf_document any_damage_gives_refused_or_a_document",
        "host/tuf_reader any_bytes_are_taken_or_refused",
        "virtual/update_attacks an_assignment_that_is_none",
    ),
    row(
        "U-17",
        "path tricks in names",
        "refused",
        "virtual/update_attacks a_target_that_nobody_signs",
        "host/tuf_download paths_that_lead_elsewhere_are_refused",
        "host/tuf_delegations refused_role_names",
        "device/tuf_client names_of_files",
    ),
    row(
        "U-18",
        "spoilt in flash after the write",
        "hashed before the switch",
        "virtual/update_attacks flash_that_spoils_while_the_update_waits_is_found",
        "virtual/update_attacks flash_that_lies_is_found_before_the_switch",
    ),
    row(
        "U-20",
        "rotation of keys, a board many roots behind",
        "a chain of roots, capped",
        "host/tuf_keys root_rotation",
        "host/tuf_refresh rotations_in_one_refresh_are_capped",
        "host/release_board a_board_takes_application_and_delta_and_follows_new_keys",
    ),
    row(
        "N-1",
        "freeze",
        "reported as one, nothing installed",
        "virtual/update_attacks a_freeze_is_told_as_one",
        "device/tuf_client expiry_is_the_very_second",
        "host/tuf_refresh expired_metadata_is_a_freeze",
    ),
    row(
        "N-2",
        "rollback of each metadata file",
        "refused, the old kept byte for byte",
        "virtual/update_attacks metadata_from_the_past_is_refused_and_what_is_kept_stays",
        "device/tuf_client versions_do_not_go_back",
        "host/tuf_refresh going_back_is_refused",
    ),
    row(
        "N-3",
        "fast-forward",
        "recovers by rotation",
        "device/tuf_client withdrawn_keys_take_their_versions_along",
        "host/tuf_refresh recovery_from_fast_forward",
    ),
    row(
        "N-4",
        "mix and match",
        "refused",
        "host/tuf_refresh mix_and_match_is_refused",
        "host/tuf_refresh another_version_than_listed_is_refused",
    ),
    row(
        "N-5",
        "endless data, lying lengths, chunks",
        "ends at the cap, in one life",
        "virtual/update_network metadata_without_end_or_with_a_lying_length",
        "virtual/update_network a_payload_without_end_or_with_a_lying_length",
        "virtual/update_alone a_server_without_end_cannot_fill_the_file_system",
        "virtual/update_alone what_a_cut_leaves_of_it_is_gone_with_the_next_start",
        "device/http_client nothing_is_endless",
        "device/http_client lengths_that_lie",
        "device/tuf_client too_much_data_is_refused",
        "virtual/update_attacks roles_without_end_cannot_fill_the_file_system",
    ),
    row(
        "N-6",
        "slow retrieval",
        "a least rate, a deadline; the watchdog is fed",
        "virtual/update_network a_server_that_trickles_is_left_and_the_watchdog_is_fed",
        "device/http_client the_slow_are_left",
        "device/http_client the_whole_job_has_a_deadline",
        "virtual/update_network a_slow_server_does_not_have_the_board_reset",
    ),
    row(
        "N-7",
        "404, 5xx, time-outs",
        "state kept, asked ever more seldom",
        "virtual/update_attacks a_server_in_trouble_is_asked_again_ever_more_seldom",
        "device/tuf_client a_lost_link_at_each_request_keeps_a_consistent_set",
    ),
    row(
        "N-8",
        "a drop at every byte",
        "the right hash; a frame a drop at most",
        "device/payload_remote a_drop_at_every_byte_costs_one_frame_at_most",
        "virtual/update_attacks a_connection_that_drops_again_and_again",
        "virtual/update_attacks a_firmware_goes_on_after_a_power_cut",
    ),
    row(
        "N-9",
        "content that changes between attempts",
        "begun again, never spliced",
        "device/payload_remote a_changed_file_is_never_spliced",
        "virtual/update_attacks a_file_that_changes_between_two_attempts_is_never_spliced",
    ),
    row(
        "N-10",
        "a server without ranges, or with wrong ones",
        "handled",
        "virtual/update_attacks a_server_that_knows_no_ranges_and_one_that_lies",
        "device/payload_remote a_range_that_was_not_asked_for_is_refused",
        "device/payload_remote a_server_that_ignores_ranges_is_skipped_through",
    ),
    row(
        "N-11",
        "redirect to another host, or to http",
        "not followed",
        "virtual/update_network a_redirect_to_another_host_is_not_followed",
        "virtual/update_network a_redirect_from_https_to_http_is_not_followed",
        "virtual/update_network a_redirect_in_the_same_place_is_followed_and_a_circle_is_left",
        "device/http_client redirects_stay_with_the_same_trust",
    ),
    row(
        "N-12",
        "wrong CA, expired, other name",
        "refused, a code each",
        "virtual/update_attacks https_is_verified",
        "host/payload_http a_wrong_certificate_is_refused",
        "e2e/agent a_certificate_for_another_name_or_time_is_refused",
    ),
    row(
        "N-13",
        "no clock, a clock set back or far ahead",
        "the floor holds",
        "device/clock the_clock_starts_at_the_floor_not_in_2000",
        "device/clock the_floor_survives_and_never_falls",
        "device/clock a_time_below_the_floor_is_ignored",
        "virtual/enrolment a_clock_that_was_never_set_does_not_accept_a_future_certificate",
    ),
    row(
        "N-14",
        "replayed or reordered settings and commands",
        "lower versions ignored, a command once",
        "device/config_change older_documents_are_ignored_unless_the_epoch_changed",
        "virtual/settings old_versions_are_ignored_unless_the_epoch_is_new",
        "device/commands a_command_is_answered_once",
        "device/commands a_reboot_replies_first_and_happens_once_across_the_reset",
        "virtual/factory_reset the_same_message_twice_resets_once",
    ),
    row(
        "N-16",
        "thundering herd",
        "spread evenly",
        "virtual/update_network a_fleet_is_spread_evenly_over_the_jitter",
        "virtual/update_network boards_that_failed_together_do_not_come_back_together",
        "virtual/quiet the_pauses_grow_and_a_steady_connection_makes_them_short_again",
    ),
    row(
        "N-18",
        "cut between storing two metadata files",
        "consistent",
        "device/tuf_client a_cut_at_each_change_of_a_file_is_old_or_new_and_goes_on",
        "device/tuf_client withdrawn_keys_take_them_along_whatever_comes_in_between",
    ),
    row(
        "D-1",
        "reboot in every state of an update",
        "exactly its chain of states, report and events",
        "virtual/update_states a_reboot_in_every_state",
        "virtual/update_cuts both_together",
        "virtual/update_trials an_application_never_runs_without_its_firmware",
        "virtual/update_trials whatever_otadata_says_a_signed_image_runs_and_it_comes_to_an_end",
    ),
    row(
        "D-2",
        "an error for ever, in every state",
        "ends, reported once",
        "virtual/update_states an_error_for_ever_in_every_state",
        "virtual/update_states a_way_back_that_cannot_be_written_is_tried_ever_more_seldom",
        "virtual/update_attacks a_freeze_is_told_as_one",
        "virtual/update_attacks signed_by_the_wrong_key",
    ),
    row(
        "D-3",
        "reboot for ever",
        "a limit of starts",
        "virtual/update_trials one_that_only_sleeps_is_ended_by_the_count_of_its_starts",
        "virtual/update_trials a_trial_that_loses_its_power_is_tried_again_three_times_in_all",
        "virtual/application an_application_that_resets_the_board_for_ever_is_stopped",
    ),
    row(
        "D-4",
        "hang",
        "watchdog and deadline",
        "virtual/update_trials an_application_that_starves_or_hangs_takes_its_firmware_back",
        "virtual/application a_tight_loop_is_ended_by_the_watchdog_and_named",
    ),
    row(
        "D-6",
        "server out of reach after an update",
        "goes back; an outage condemns nothing",
        "virtual/update without_the_broker_a_trial_ends_but_nothing_is_condemned",
    ),
    row(
        "D-7",
        "second update while the first is unconfirmed",
        "waits",
        "virtual/update_trials a_second_update_waits_for_the_first",
    ),
    row(
        "D-8",
        "report that cannot be delivered",
        "kept, delivered later, once",
        "device/events what_did_not_arrive_survives_a_reset_and_numbers_go_on",
        "virtual/agent_life two_hundred_forced_reconnects_lose_no_event",
        "host/hub_records the_same_is_stored_once_whenever_it_comes",
        "virtual/slow_broker what_a_long_absence_left_takes_longer_than_a_deadline",
        "virtual/crash_records what_is_spoilt_keeps_no_heartbeat_back",
    ),
    row(
        "D-9",
        "settings that cut off the network",
        "undone by the deadline, across resets",
        "virtual/settings a_wrong_password_is_tried_and_undone_by_itself",
        "virtual/settings a_broker_that_is_not_there_is_tried_and_undone",
        "virtual/settings any_reset_ends_a_trial",
        "virtual/settings a_cut_at_every_operation_of_a_change_is_old_or_new",
    ),
    row(
        "D-10",
        "invalid setting",
        "a code for the key, the rest applies",
        "virtual/settings what_is_invalid_is_refused_by_key_and_the_rest_applies",
        "host/config_model ten_thousand_documents_leave_the_board_where_the_model_is",
    ),
    row(
        "D-11",
        "settings or records of an older or newer version",
        "kept, still read; else as if there were none",
        "virtual/settings settings_of_another_release_are_kept_for_its_return",
        "device/config_change what_another_release_stored_is_kept_unread",
        "virtual/update_storage a_record_of_another_agents_making_keeps_no_board_away",
    ),
    row(
        "D-12",
        "crash loop",
        "safe mode, the board in reach",
        "virtual/application one_that_goes_on_failing_ends_in_safe_mode_and_the_board_stays",
        "virtual/application a_supply_that_breaks_down_six_times_ends_in_safe_mode",
    ),
    row(
        "D-13",
        "starved watchdog; feeder alive, application dead",
        "reset with its cause",
        "device/supervisor a_starved_task_ends_in_a_reset_that_names_it",
        "device/supervisor the_watchdog_is_not_fed_once_a_task_is_late",
        "virtual/application a_task_that_waits_for_ever_is_named",
        "virtual/update_trials what_hangs_is_not_confirmed_however_short_the_trial",
    ),
    row(
        "D-14",
        "memory that is gone or in pieces",
        "no update below the floor, an alert",
        "virtual/update_alone an_application_is_fetched_without_the_one_that_runs",
        "device/nominal a_leak_of_a_hundred_bytes_a_minute_is_found_while_most_is_left",
    ),
    row(
        "D-15",
        "cause of a reset",
        "a table of intent and cause",
        "device/supervisor why_a_life_began",
        "virtual/agent_life it_comes_back_from_each_fault",
    ),
    row(
        "D-16",
        "claim identity stolen or used again",
        "one id, once",
        "virtual/enrolment a_stolen_claim_is_of_no_use_once_the_board_has_enrolled",
        "e2e/enrolment_service a_stolen_claim_a_replay_and_a_request_for_another_id",
    ),
    row(
        "D-18",
        "factory reset that leaves secrets",
        "no byte of them in flash",
        "virtual/factory_reset by_command_it_comes_back_as_at_its_first_boot",
        "device/scrub dead_entries_of_nvs_are_zeroed_and_live_ones_stay",
    ),
    row(
        "D-19",
        "secrets in what is said",
        "a canary is nowhere",
        "virtual/agent_life a_canary_password_is_nowhere_but_in_its_store",
        "virtual/settings a_canary_in_a_tried_password_is_nowhere",
        "virtual/application a_secret_that_is_raised_is_struck_out",
        "e2e/config_service a_secret_never_shows",
        "virtual/crash_records a_secret_is_struck_out_however_it_is_quoted",
    ),
    row(
        "D-22",
        "a bad version for a whole fleet",
        "stops at its threshold",
        "e2e/update_service a_bad_version_stops_at_its_threshold",
        "host/update_waves whatever_boards_do_no_wave_overtakes_and_a_bad_release_stays_small",
    ),
]


def node_of(test: str) -> str:
    """pytest's id of "wing/file test"."""
    file, _, name = test.partition(" ")
    wing, _, name_of_file = file.partition("/")
    return f"tests/{wing}/test_{name_of_file}.py::test_{name}"


@cache
def names_in(file: Path) -> set[str]:
    """The test functions of a file."""
    tree = ast.parse((ROOT / file).read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in tree.body if isinstance(node, kinds)}


def counts_of(document: str) -> dict[str, int]:
    """What the document says of how much each test tried."""
    found = re.findall(r"^\|.*\| `(\S+)` \| ([\d,]+) \|$", document, re.MULTILINE)
    return {node: int(count.replace(",", "")) for node, count in found}


def measured(words: list[str]) -> dict[str, int]:
    """Runs tests that are named here; what each tried, by its node id."""
    nodes = sorted({node_of(test) for row in ROWS for test in row.tests})
    nodes = [node for node in nodes if not words or any(word in node for word in words)]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "3", "--dist", "loadfile"]
    done = subprocess.run(
        [*command, "--tried", *nodes], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stdout[-5000:] + done.stderr[-2000:])
    counts: dict[str, int] = {}
    for node, count in re.findall(r"^tried (\S+) (\d+)$", done.stdout, re.MULTILINE):
        counts[node] = int(count)
    return counts


def render(counts: dict[str, int], mutations: str) -> str:
    """The document."""
    return "\n".join([*_head(), *_tables(counts), mutations.strip(), ""])


def _head() -> Iterator[str]:
    kept = [row for row in ROWS if row.tests and not row.missing]
    yield "# Faults and attacks"
    yield ""
    yield "Made by `make faults` from `tests/faults.py`; do not edit it by hand."
    yield ""
    yield "Each row is a promise. It is kept when its tests pass, and when they fail without the"
    yield "defence; for the most important ones the mutations at the end show the latter."
    yield f"{len(kept)} of {len(ROWS)} rows are kept in full. The others say what is missing."
    yield "The last column is how many cases or cut points a test tries in one run of the suite"
    yield "(?: not counted yet); sweeps that it thins are whole with `pytest --every-case`."


def _tables(counts: dict[str, int]) -> Iterator[str]:
    for letter, title in GROUPS.items():
        yield ""
        yield f"## {letter}. {title}"
        yield ""
        yield "| | fault | what is shown | test | tried |"
        yield "|---|---|---|---|---:|"
        for one in ROWS:
            if not one.id.startswith(letter + "-"):
                continue
            left = f"{one.id} | {one.fault} | {one.shown}"
            for test in one.tests:
                node = node_of(test)
                count = f"{counts[node]:,}" if node in counts else "?"
                yield f"| {left} | `{node}` | {count} |"
                left = " | |"
            if one.missing:
                yield f"| {left} | **not shown yet: {one.missing}** | |"
    yield ""


def mutations_table() -> str:
    """The part about the mutation gate, once all of them were caught."""
    from mutations import MUTATIONS

    lines = [
        "## Mutations",
        "",
        f"`make mutations` seeds {len(MUTATIONS)} faults in a copy of the product, one at a time,",
        "and runs the tests named here: every one of them has to fail. All were caught.",
        "",
        "| seeded fault | file | caught by |",
        "|---|---|---|",
    ]
    for one in MUTATIONS:
        caught = ", ".join(f"`{node}`" for node in one.caught_by)
        lines.append(f"| {one.what} | `{one.file}` | {caught} |")
    return "\n".join(lines)


def mutations_of(document: str) -> str:
    """That part of the document as it stands."""
    _, found, rest = document.partition("\n## Mutations\n")
    return "## Mutations\n" + rest if found else ""


def write(*, words: list[str] | None = None, mutations: bool = False) -> None:
    """Writes the document; what is not measured anew (`words`: by which tests) stays as it was."""
    counts = {} if words is None else measured(words)
    before = DOCUMENT.read_text() if DOCUMENT.exists() else ""
    counts = counts_of(before) | counts
    DOCUMENT.write_text(render(counts, mutations_table() if mutations else mutations_of(before)))


if __name__ == "__main__":
    write(words=None if "--text" in sys.argv else sys.argv[1:])
