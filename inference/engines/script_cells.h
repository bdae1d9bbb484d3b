// ScriptCells: the scripted engine's stand-in for a context whose cells its slots share: it counts what each would hold and keep, and fails
// a step that takes more than there are, as libllama would. Nothing is kept in it; a cell's state counts kBytes. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"

namespace tollgate::inference {

class ScriptCells {
 public:
  static constexpr std::int64_t kBytes = 100;

  // 0 cells: none are shared, and all below does nothing.
  ScriptCells(std::int64_t total, int slots) : total_(total), slots_(static_cast<std::size_t>(slots)) {}

  bool shared() const { return total_ > 0; }
  bool IsSuspended(int slot) const { return At(slot).suspended; }
  bool IsRedone(int slot, std::int64_t tokens);  // Whether these tokens are of what Resume gave to do again. Then they are counted as done.

  void Take(int slot, std::int64_t cells) { slots_[static_cast<std::size_t>(slot)].held += cells; }
  void Gave(int slot, std::int64_t outputs);  // Each takes the cell of the one before it; the first takes none.
  void CutTo(int slot, std::int64_t cells);
  void Free(int slot) { slots_[static_cast<std::size_t>(slot)] = {}; }
  absl::Status Check() const;  // INTERNAL: more are held than there are.

  std::int64_t Suspend(int slot, std::int64_t bytes_max);
  std::int64_t Resume(int slot);

 private:
  struct Slot {
    std::int64_t held = 0;  // Where it is suspended: when it was.
    std::int64_t redo = 0;
    bool begun = false;  // It gave an output.
    bool suspended = false;
    bool kept = false;
  };
  const Slot& At(int slot) const { return slots_[static_cast<std::size_t>(slot)]; }

  std::int64_t total_;
  std::vector<Slot> slots_;
};

}  // namespace tollgate::inference
