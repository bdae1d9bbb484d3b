// Plain counting. Tested by tests/inference/cell_pool_test.cpp.
#include "inference/engines/script_cells.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace tollgate::inference {

bool ScriptCells::IsRedone(int slot, std::int64_t tokens) {
  Slot& at = slots_[static_cast<std::size_t>(slot)];
  if (at.redo == 0) return false;
  at.redo -= tokens;
  at.held += tokens;
  return true;
}

void ScriptCells::Gave(int slot, std::int64_t outputs) {
  Slot& at = slots_[static_cast<std::size_t>(slot)];
  if (outputs == 0) return;
  at.held += at.begun ? outputs : outputs - 1;
  at.begun = true;
}

void ScriptCells::CutTo(int slot, std::int64_t cells) {
  Slot& at = slots_[static_cast<std::size_t>(slot)];
  const std::int64_t whole = std::min(at.held + at.redo, cells);
  at.held = std::min(at.held, whole);
  at.redo = whole - at.held;
}

absl::Status ScriptCells::Check() const {
  std::int64_t held = 0;
  for (const Slot& slot : slots_) held += slot.suspended ? 0 : slot.held;
  if (!shared() || held <= total_) return absl::OkStatus();
  return base::Internal(fmt::format("{} cells are wanted of {}: a defect", held, total_));
}

std::int64_t ScriptCells::Suspend(int slot, std::int64_t bytes_max) {
  Slot& at = slots_[static_cast<std::size_t>(slot)];
  at.suspended = true;
  at.kept = at.held > 0 && at.held * kBytes <= bytes_max;
  return at.kept ? at.held * kBytes : 0;
}

std::int64_t ScriptCells::Resume(int slot) {
  Slot& at = slots_[static_cast<std::size_t>(slot)];
  at.suspended = false;
  if (std::exchange(at.kept, false)) return 0;
  const std::int64_t again = std::exchange(at.held, 0);
  at.redo += again;
  return again;
}

}  // namespace tollgate::inference
