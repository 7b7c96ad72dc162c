// SPDX-License-Identifier: Apache-2.0
#include "agent/slots/life.h"

namespace sonde {
namespace {

SlotCommands decided(SlotLife& life, bool measured) {
  if (!is_held(life.stage)) return {};
  life.stage = SlotStage::Live;
  life.provisional = false;
  life.measured = measured;
  return {};
}

// The flags are set once: every change of them starts its counts over.
SlotCommands undecided(SlotLife& life) {
  if (!is_held(life.stage) || life.provisional) return {};
  life.stage = SlotStage::Waiting;
  life.provisional = true;
  life.measured = false;
  return {.provisional = true};
}

SlotCommands released(SlotLife& life) {
  if (life.stage != SlotStage::Live) return {};
  life.stage = SlotStage::Released;
  return {.release = true};
}

// Its kernel side may have another holder already: nothing of it may be touched.
SlotCommands withdrawn(SlotLife& life) {
  const bool unlinking = life.stage == SlotStage::Released && !life.unlinked_ns;
  if (!is_held(life.stage) && !unlinking) return {};
  life = SlotLife{};
  return {.forget = true};
}

SlotCommands collection_began(SlotLife& life) {
  if (life.stage != SlotStage::Flushed) return {};
  life = SlotLife{};
  return {.give_back = true};
}

SlotCommands collection_ended(SlotLife& life, uint64_t began_ns) {
  if (life.stage == SlotStage::Drained) {  // since the last collection: this one began with its end
    life.stage = SlotStage::Flushed;
    return {.forget = true};
  }
  const bool last = life.stage == SlotStage::Released && life.unlinked_ns && began_ns >= life.unlinked_ns + kGraceNs;
  if (!last) return {};
  // Nothing in the pipeline has to be ended for a holder that was not measured.
  life.stage = life.measured ? SlotStage::Drained : SlotStage::Flushed;
  return {.empty_rows = true, .end = life.measured, .forget = !life.measured};
}

}  // namespace

SlotCommands advance(SlotLife& life, SlotEvent event) {
  switch (event.kind) {
    case SlotEventKind::Assigned:
      if (life.stage == SlotStage::Free) life.stage = SlotStage::Waiting;
      return {};
    case SlotEventKind::Withdrawn: return withdrawn(life);
    case SlotEventKind::NameMissing: return undecided(life);
    case SlotEventKind::Selected: return decided(life, true);
    case SlotEventKind::Unselected: return decided(life, false);
    case SlotEventKind::Dismissed: return released(life);
    case SlotEventKind::Gone:
      if (life.stage != SlotStage::Free) life.gone = true;
      return released(life);
    case SlotEventKind::Unlinked:
      if (life.stage == SlotStage::Released && !life.unlinked_ns) life.unlinked_ns = event.at_ns;
      return {};
    case SlotEventKind::CollectionBegan: return collection_began(life);
    case SlotEventKind::CollectionEnded: return collection_ended(life, event.at_ns);
  }
  return {};
}

}  // namespace sonde
