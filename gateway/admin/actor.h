// Who changes something in the directory.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "base/status.h"
#include "base/uuid.h"

namespace tollgate::admin {

struct Actor {
  std::string name;           // A key's public id, or "cli:USER".
  base::KeyId key;            // None for the command line. Under the lock it must still be good, as it was when its call was admitted.
  bool installation = false;  // The permission by which it acts reaches over the whole installation.
  // Once true, whoever asked has gone, and what has not begun by then is not done: CANCELLED. Null: they stay.
  const std::atomic<bool>* gone = nullptr;
  std::function<absl::Status()> keep_going =
      nullptr;  // For long work to ask between its steps, whose error is the call's. Null: it goes on.
};

}  // namespace tollgate::admin
