# SPDX-License-Identifier: MIT
"""The seeded faults: a text of the product, what stands there instead, and who has to notice.

A text occurs exactly once in its file (tests/host/test_mutations.py).
`make mutations` seeds them (tests/mutate.py). The tests are the few that
are there for the defence, not all that would fail.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MUTATIONS", "Mutation"]


@dataclass(frozen=True)
class Mutation:
    """`caught_by` are pytest's node ids; each of them alone has to fail."""

    what: str
    file: str
    old: str
    new: str
    caught_by: tuple[str, ...]


def _device(name: str) -> str:
    return f"tests/device/test_{name.replace(' ', '::test_', 1)}"


def _virtual(name: str) -> str:
    return f"tests/virtual/test_{name.replace(' ', '::test_', 1)}"


MUTATIONS = [
    # --- storage
    Mutation(
        "a record's CRC is not looked at",
        "agent/storage/records.py",
        'if struct.unpack_from("<I", data, end)[0] != binascii.crc32(data[:end]):',
        "if False:",
        (_device("records.py every_single_bit_that_flips_is_noticed"),),
    ),
    Mutation(
        "a save rewrites the copy that holds the value",
        "agent/storage/records.py",
        "self._keys[1 - best[0]]",
        "self._keys[best[0]]",
        (_device("records.py a_save_that_fails_or_is_torn_leaves_the_old_value"),),
    ),
    Mutation(
        "the older of two copies is the value",
        "agent/storage/records.py",
        "newer(found[0], best[1])",
        "not newer(found[0], best[1])",
        (_device("records.py a_save_never_rewrites_the_copy_that_holds_the_value"),),
    ),
    Mutation(
        "a scrub takes values that live for dead ones",
        "agent/storage/scrub.py",
        "    if state == _WRITTEN:\n        return False\n",
        "",
        (_device("scrub.py dead_entries_of_nvs_are_zeroed_and_live_ones_stay"),),
    ),
    Mutation(
        "a scrub does not read back",
        "agent/storage/scrub.py",
        "if view != memoryview(zeros)[:size]:",
        "if False:",
        (_device("scrub.py flash_that_takes_nothing_is_noticed"),),
    ),
    Mutation(
        "a scrub zeroes a block's mark first (two writes swapped)",
        "agent/storage/scrub.py",
        "            _zero(part, number, len(SECRET), _BLOCK - len(SECRET))\n"
        "            _zero(part, number, 0, len(SECRET))\n",
        "            _zero(part, number, 0, len(SECRET))\n"
        "            _zero(part, number, len(SECRET), _BLOCK - len(SECRET))\n",
        (_device("scrub.py a_cut_while_a_block_is_zeroed_leaves_its_mark_for_the_next_time"),),
    ),
    # --- boot.py
    Mutation(
        "boot.py does not hash the files of a slot",
        "boot.py",
        "if left or binascii.hexlify(digest.digest()).decode() != wanted:",
        "if left:",
        (_virtual("update_trials.py a_slot_with_any_wrong_file_is_passed_over"),),
    ),
    Mutation(
        "boot.py does not count the starts of a slot on trial",
        "boot.py",
        '_write(state, "slot", word + 16)',
        "pass",
        (_virtual("update_trials.py one_that_only_sleeps_is_ended_by_the_count_of_its_starts"),),
    ),
    Mutation(
        "boot.py starts the new application with the old firmware",
        "boot.py",
        "    elif firmware == running:\n",
        "    else:\n",
        (_virtual("update_trials.py an_application_never_runs_without_its_firmware"),),
    ),
    Mutation(
        "no crash loop ends in safe mode",
        "boot.py",
        "flags = _SAFE if bad >= _TOO_BAD and not trial else 0",
        "flags = 0",
        (
            _virtual(
                "application.py one_that_goes_on_failing_ends_in_safe_mode_and_the_board_stays"
            ),
        ),
    ),
    # --- watchdog
    Mutation(
        "the watchdog is fed whoever has checked in",
        "agent/supervisor.py",
        "            if left_s < 0:\n",
        "            if False:\n",
        (_virtual("application.py a_task_that_waits_for_ever_is_named"),),
    ),
    Mutation(
        "the watchdog is fed from a timer: before anybody looks",
        "agent/supervisor.py",
        "            wait_s = self._look()\n            board.feed_watchdog()\n",
        "            board.feed_watchdog()\n            wait_s = self._look()\n",
        (_device("supervisor.py the_watchdog_is_not_fed_once_a_task_is_late"),),
    ),
    Mutation(
        "a task that goes on raising is started for ever",
        "agent/supervisor.py",
        "if len(task.failures) == _MANY and",
        "if False and",
        (_device("supervisor.py a_task_that_goes_on_raising_ends_in_a_reset"),),
    ),
    # --- settings on trial
    Mutation(
        "risky settings are written before they are confirmed",
        "agent/config/trial.py",
        "    settings.trial = Trial(document, before, until)\n",
        "    settings.trial = Trial(document, before, until)\n    stored.save(store, document)\n",
        (_device("config_trial.py a_risky_change_is_in_force_but_not_on_flash"),),
    ),
    Mutation(
        "settings that were undone are tried again for ever",
        "agent/config/trial.py",
        'if (document["e"], document["v"]) != (epoch, version):',
        "if False:",
        (
            _device(
                "config_trial.py undone_the_old_settings_are_back_and_the_document_is_not_tried"
                "_again"
            ),
        ),
    ),
    Mutation(
        "the mark goes before the confirmed settings are written (two writes swapped)",
        "agent/config/trial.py",
        "    stored.save(store, settings.trial.document)\n    settings.trial = None\n"
        "    store.erase(_KEY)\n",
        "    store.erase(_KEY)\n    settings.trial = None\n",
        (_device("config_trial.py confirmed_it_stays"),),
    ),
    # --- updates
    Mutation(
        "the security floor is raised before the confirmation",
        "agent/update/switch.py",
        '    await leave(runtime.session, runtime.supervisor, "update", kept["id"])\n',
        "    for kind, key in here.FLOORS:\n"
        "        part = record.part(kept, kind)\n"
        "        if part:\n"
        '            runtime.state.set_int(key, part["security"])\n'
        '    await leave(runtime.session, runtime.supervisor, "update", kept["id"])\n',
        (_virtual("update_trials.py the_floor_moves_with_the_confirmation_and_not_before"),),
    ),
    Mutation(
        "the security floor never moves",
        "agent/update/switch.py",
        'if part and part["security"] > state.get_int(key):',
        "if False:",
        (_virtual("update_attacks.py no_way_down_by_version_or_counter"),),
    ),
    Mutation(
        "a trial is confirmed before the board is healthy",
        "agent/update/trial.py",
        "fine = steady and await _healthy(runtime)",
        "fine = True",
        (_virtual("update_states.py an_error_for_ever_in_every_state[trial-ill]"),),
    ),
    Mutation(
        "a trial is confirmed without the broker",
        "agent/update/trial.py",
        "if fine and not owed and runtime.session.connected():",
        "if fine and not owed:",
        (_virtual("update.py without_the_broker_a_trial_ends_but_nothing_is_condemned"),),
    ),
    Mutation(
        "what failed is not remembered",
        "agent/update/record.py",
        'if one.get(key) and one[key] not in record["bad"]:',
        "if False:",
        (_virtual("update.py one_that_crashes_is_reverted_and_not_tried_again"),),
    ),
    Mutation(
        "metadata may fill the file system",
        "agent/update/ahead.py",
        "if status[0] * status[3] < _SPARE:",
        "if False:",
        (_virtual("update_alone.py a_server_without_end_cannot_fill_the_file_system"),),
    ),
    Mutation(
        "signed roles may fill the file system",
        "agent/update/tuf/store.py",
        "if role in _TOP_LEVEL or self._has_room(len(data)):",
        "if True:",
        (_virtual("update_attacks.py roles_without_end_cannot_fill_the_file_system"),),
    ),
    Mutation(
        "what withdrawn keys signed outlives a cut after the new root",
        "agent/update/tuf/client.py",
        "if trusted.rotated:  # before",
        "if False:  # before",
        (_device("tuf_client.py withdrawn_keys_take_them_along_whatever_comes_in_between"),),
    ),
    Mutation(
        "a server that is slow for long is taken for a hang",
        "agent/link/http.py",
        "        if self.alive:\n",
        "        if False:\n",
        (_virtual("update_network.py a_slow_server_does_not_have_the_board_reset"),),
    ),
    Mutation(
        "a broker that is slow for long is taken for a hang",
        "agent/link/session.py",
        "self.supervisor.running.alive()",
        "pass",
        (_virtual("slow_broker.py so_do_events"),),
    ),
    Mutation(
        "names in a document may be anything",
        "agent/link/document.py",
        "        _check_names(document)\n",
        "",
        ("tests/device/test_document.py::test_a_name_is_text[micropython]",),
    ),
    Mutation(
        "a record of another form is taken as it is",
        "agent/update/record.py",
        "if not _fits(found, _idle()) or",
        "if False and",
        (_virtual("update_storage.py a_record_of_another_agents_making_keeps_no_board_away"),),
    ),
    Mutation(
        "a slot's head may say any length",
        "boot.py",
        " or length >> 20:",
        ":",
        (_virtual("update_trials.py a_slot_that_is_no_pack_is_passed_over"),),
    ),
    Mutation(
        "a secret is struck out only as it is",
        "agent/monitor/crash.py",
        "                repr(value)[1:-1],\n",
        "",
        (_virtual("crash_records.py a_secret_is_struck_out_however_it_is_quoted"),),
    ),
    Mutation(
        "metadata that was not verified stays where it was fetched to",
        "agent/update/record.py",
        "forget_ahead()  # the life before was cut",
        "pass",
        (_virtual("update_alone.py what_a_cut_leaves_of_it_is_gone_with_the_next_start"),),
    ),
    Mutation(
        "a build that tells no name takes what names builds",
        "agent/update/rules.py",
        'if here["machine"] not in offer["machines"]:',
        "if False:",
        (_virtual("update_attacks.py firmware_before_1_25_is_known_by_its_machine_alone"),),
    ),
    Mutation(
        "the counter has to be higher (<= for <)",
        "agent/update/rules.py",
        'offer["security"] < here["floors"][kind]:',
        'offer["security"] <= here["floors"][kind]:',
        (_virtual("update_attacks.py no_way_down_by_version_or_counter"),),
    ),
    Mutation(
        "a lower version is taken",
        "agent/update/rules.py",
        'if known and version(offer["version"]) < _lenient(known):',
        "if False:",
        (_virtual("update_attacks.py no_way_down_by_version_or_counter"),),
    ),
    Mutation(
        "a task that is not overdue counts as one that works",
        "agent/update/trial.py",
        "if fine and not owed and",
        "if fine and",
        (_virtual("update_trials.py what_hangs_is_not_confirmed_however_short_the_trial"),),
    ),
    Mutation(
        "a check-in within the healthy minute is enough",
        "agent/update/proof.py",
        "since_s < steady_s or ",
        "",
        (
            _device(
                "update_proof.py nor_has_one_that_checked_in_before_the_healthy_time_was_over"
            ),
            _virtual("update_trials.py what_hangs_is_not_confirmed_however_short_the_trial"),
        ),
    ),
    Mutation(
        "what the agent does for a task that has failed counts as its check-in",
        "agent/update/proof.py",
        " or since_s <= _PAUSE_S",
        "",
        (
            _device(
                "update_proof.py what_the_agent_does_when_it_starts_a_task_again_does_not_count"
            ),
        ),
    ),
    Mutation(
        "the switch does not hash what is in flash",
        "agent/update/switch.py",
        "    if not good:\n",
        "    if False:\n",
        (_virtual("update_attacks.py flash_that_spoils_while_the_update_waits_is_found"),),
    ),
    Mutation(
        "the slot that runs is written",
        "agent/update/firmware.py",
        "return Slot(running), Slot(other)",
        "return Slot(running), Slot(running)",
        (_virtual("update.py a_firmware"),),
    ),
    Mutation(
        "the image of another chip is chosen",
        "agent/update/install_firmware.py",
        " or other.chip() != running.chip()",
        "",
        (_virtual("update_trials.py an_image_that_is_none_never_boots[another chip]"),),
    ),
    Mutation(
        "an image may be larger than its slot",
        "agent/update/install_firmware.py",
        'if whole["size"] > other.size:',
        "if False:",
        (_virtual("update_trials.py an_image_that_is_none_never_boots[larger than the slot]"),),
    ),
    Mutation(
        "a trial that lost its power is tried for ever",
        "agent/update/settle.py",
        'elif kept["n"] < _TRIES:',
        "elif True:",
        (
            _virtual(
                "update_trials.py a_trial_that_loses_its_power_is_tried_again_three_times_in_all"
                "[3]"
            ),
        ),
    ),
    Mutation(
        "without rollback in the bootloader the firmware stays",
        "agent/update/switch.py",
        " and (again or not firmware.on_trial(running)):",
        " and False:",
        (
            _virtual(
                "update_trials.py whatever_otadata_says_a_signed_image_runs_and_it_comes_to_an_end"
                "[reverting-False]"
            ),
        ),
    ),
    Mutation(
        "losses of power that boot.py ends condemn the firmware",
        "agent/update/settle.py",
        "if word & slotword.POWER:",
        "if False:",
        (_virtual("update_trials.py losses_of_power_that_boot_py_ends_condemn_nothing"),),
    ),
    Mutation(
        "what cannot be noted at the start of a trial costs the board its connection",
        "agent/update/settle.py",
        "    try:\n        record.save(kept)\n    except AgentError as e:\n"
        '        runtime.log.error("update", e.code)\n',
        "    record.save(kept)\n",
        (_virtual("update_states.py an_error_for_ever_in_every_state[trial-start]"),),
    ),
    Mutation(
        "an end that flash does not take is tried for ever",
        "agent/update/job.py",
        '            self.log.error("update", e.code)\n            return False\n',
        "            raise e\n",
        (_virtual("update_states.py an_error_for_ever_in_every_state[fetching-files]"),),
    ),
    Mutation(
        "a confirmation that flash does not take is tried for ever",
        "agent/update/trial.py",
        "if uptime_s >= trial_s * (_PATIENCE if fine else 1) and not (fine and owed):",
        "if not (error or owed) and uptime_s >= trial_s * (_PATIENCE if fine else 1):",
        (_virtual("update_states.py an_error_for_ever_in_every_state[trial-otadata]"),),
    ),
    Mutation(
        "a board that cannot write its way back resets for ever",
        "agent/update/trial.py",
        '            wing.runtime.log.error("update", "not reverted: " + e.code)\n',
        '            wing.runtime.supervisor.reset("update-reverted", code)\n',
        (
            _virtual(
                "update_states.py a_way_back_that_cannot_be_written_is_tried_ever_more_seldom"
            ),
        ),
    ),
    Mutation(
        "an update that was verified is fetched anew after a loss of power",
        "agent/update/updater.py",
        'record["state"] in ("verified", "switching")',
        'record["state"] == "switching"',
        (_virtual("update_states.py a_reboot_in_every_state[verified-power]"),),
    ),
    Mutation(
        "a pack that was begun is begun anew",
        "agent/update/pack.py",
        "if found.content == bundle.content:",
        "if False:",
        (_virtual("update_schedules.py uptimes_that_grow_by_one_operation_converge[both]"),),
    ),
    Mutation(
        "how far a fetch has come is written with each frame",
        "agent/update/install_firmware.py",
        "_KEEP = const(16)",
        "_KEEP = const(1)",
        (_virtual("update_wear.py erases_of_an_update"),),
    ),
    Mutation(
        "an NVS that cannot be opened stops the board",
        "agent/board.py",
        "            self._nvs = _Gone(e)\n",
        "            raise e\n",
        (_virtual("update_storage.py in_usual_life_the_board_goes_on_and_says_so[nvs-1]"),),
    ),
    # --- payload and resume
    Mutation(
        "two versions of a file are spliced",
        "agent/update/payload/remote.py",
        "if self.validator and self.validator != found and (found or start == 0):",
        "if False:",
        (_device("payload_remote.py a_changed_file_is_never_spliced"),),
    ),
    Mutation(
        "a range is taken from wherever it starts",
        "agent/update/payload/remote.py",
        "if start != offset:",
        "if False:",
        (_device("payload_remote.py a_range_that_was_not_asked_for_is_refused"),),
    ),
    Mutation(
        "a frame's CRC is not looked at",
        "agent/update/payload/reader.py",
        "if found != crc:",
        "if False:",
        (_device("payload_reader.py each_frame_field_is_checked"),),
    ),
    Mutation(
        "a payload need not be the signed one",
        "agent/update/payload/reader.py",
        " or found.sha256 != sha256:",
        ":",
        (_device("payload_reader.py nothing_is_written_for_what_the_signature_does_not_name"),),
    ),
    Mutation(
        "a delta is applied to any base",
        "agent/update/payload/reader.py",
        "self._patch is None or found.base_sha256 != base_sha256",
        "self._patch is None",
        (_virtual("update_trials.py a_delta_from_something_else_gives_way_to_the_whole"),),
    ),
    Mutation(
        "it is resumed with the state of another payload",
        "agent/update/payload/reader.py",
        "ok = crc == known.crc and frame",
        "ok = frame",
        (_device("payload_reader.py a_state_of_another_payload_is_refused"),),
    ),
    # --- TUF
    Mutation(
        "metadata that expires this very second is fresh",
        "agent/update/tuf/trust.py",
        "if self.now >= role.expires:",
        "if self.now > role.expires:",
        (_device("tuf_client.py expiry_is_the_very_second"),),
    ),
    Mutation(
        "one key under two ids counts twice",
        "agent/update/tuf/trust.py",
        "counted.add(material)",
        "counted.add(key_id)",
        (_device("tuf_client.py thresholds_count_keys"),),
    ),
    Mutation(
        "an older timestamp is taken",
        "agent/update/tuf/trust.py",
        "if new.version < old.version or ",
        "if ",
        (_device("tuf_client.py versions_do_not_go_back"),),
    ),
    Mutation(
        "a new root need not be signed by the old one's keys",
        "agent/update/tuf/trust.py",
        '            yield from require(message, old.roles["root"], "root")\n',
        "            pass\n",
        (_device("tuf_client.py a_root_needs_the_old_and_the_new_keys"),),
    ),
    Mutation(
        "metadata may be of any length",
        "agent/update/tuf/metadata.py",
        "if len(data) > longest:",
        "if False:",
        (_device("tuf_client.py too_much_data_is_refused"),),
    ),
    Mutation(
        "the first root need not have the provisioned hash",
        "agent/update/tuf/client.py",
        "if sha256(data).digest() != digest:",
        "if False:",
        (_device("tuf_client.py the_first_root_is_the_provisioned_one"),),
    ),
    Mutation(
        "what withdrawn keys signed still counts",
        "agent/update/tuf/client.py",
        "if trusted.rotated:",
        "if False:",
        (_device("tuf_client.py withdrawn_keys_take_their_versions_along"),),
    ),
    # --- http
    Mutation(
        "a redirect leads anywhere",
        "agent/link/http.py",
        "if here[2] != there[2] or not known:",
        "if False:",
        (
            _device("http_client.py redirects_stay_with_the_same_trust"),
            _virtual("update_network.py a_redirect_from_https_to_http_is_not_followed"),
        ),
    ),
    Mutation(
        "the cap of a file is ignored",
        "agent/link/http.py",
        "if len(out) + count > limit:",
        "if False:",
        (_device("http_client.py nothing_is_endless"),),
    ),
    Mutation(
        "a slow server is waited for",
        "agent/link/http.py",
        "if self._got * 1000 < self._least * self._waited:",
        "if False:",
        (_device("http_client.py the_slow_are_left"),),
    ),
    # --- rescue
    Mutation(
        "the rescue takes frames of any size",
        "rescue.py",
        " or raw != min(size, sectors * 4096):",
        ":",
        (_virtual("rescue.py a_frame_that_is_not_as_it_says_is_refused_by_itself"),),
    ),
    Mutation(
        "the rescue believes a time server that is behind the floor",
        "rescue.py",
        "now = now if now >= floor else max(floor,",
        "now = now if now else max(floor,",
        (_virtual("rescue.py a_time_server_behind_the_floor_is_not_believed"),),
    ),
    Mutation(
        "the rescue goes on with a pack of another release",
        "rescue.py",
        'if found == known["h"]:',
        "if found:",
        (_virtual("rescue.py what_was_begun_of_another_release_is_not_gone_on_with"),),
    ),
    # --- identity
    Mutation(
        "a key is used before it is kept",
        "agent/identity/enrol.py",
        "        vault.set_next(KEYED, key)\n",
        "",
        (_virtual("enrolment.py a_key_that_was_made_is_kept_before_it_is_used"),),
    ),
    Mutation(
        "a certificate is stored unchecked",
        "agent/identity/enrol.py",
        "    await finish_async("
        "x509.check_steps(certificate, own.ca, point, own.name, now), pause)\n",
        "",
        (_virtual("enrolment.py a_wrong_certificate_is_not_stored"),),
    ),
    Mutation(
        "the answer to another request is taken",
        "agent/identity/enrol.py",
        'if answer.get("request") == tag:',
        "if True:",
        (_virtual("enrolment.py an_answer_to_another_request_is_waited_past"),),
    ),
    # --- commands
    Mutation(
        "a command that reset the board is carried out again",
        "agent/commands.py",
        '[last["detail"]] if last.get("why") == "command" else []',
        "[]",
        (_device("commands.py a_reboot_replies_first_and_happens_once_across_the_reset"),),
    ),
    Mutation(
        "a signature with r or s out of range is looked at",
        "agent/crypto/p256.py",
        "    if not (0 < r < N and 0 < s < N):\n        return False\n    try:\n"
        "        table = yield from _table_steps(point)\n",
        "    try:\n        table = yield from _table_steps(point)\n",
        (_device("crypto_p256.py r_and_s_out_of_range"),),
    ),
]
