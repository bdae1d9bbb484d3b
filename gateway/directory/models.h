// A model of the registry: what may be loaded, with what, and who may use it. Beside it, models named in tollgate.yaml are loaded at start
// and are in no row. A LoRA adapter is a model of its own here, named "BASE:ADAPTER": it is another model's weights and a file beside them.
// Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/crypto.h"
#include "base/status.h"
#include "gateway/directory/rows.h"

namespace tollgate::directory {

struct Model {
  std::string name;
  std::string engine = "llama";        // Or "scripted", which has neither file nor digest; or "lora".
  std::string file;                    // Below each instance's pool.models_dir.
  std::optional<base::Digest> sha256;  // Of the file.
  std::string licence;                 // SPDX name.
  std::string chat_template;           // The chat format to render with; empty = its file's own.
  std::int64_t context_tokens = 2048;
  std::int64_t slots = 8;
  std::int64_t threads = 0;
  std::string kv = "f16";  // "f16", "q8" or "f32".
  std::int64_t queue_max = 64;
  std::int64_t queue_timeout_ms = 30'000;
  std::int64_t prefix_cache_bytes = 256 << 20;
  std::int64_t step_target_ms = 100;
  std::string pooling;         // Empty: it chats. "model", "mean", "cls", "last" or "rank": it embeds, or reranks.
  std::int64_t kv_tokens = 0;  // That all slots share; 0: each has its own context.
  bool strict = false;         // It gives strict answers too, from a second copy.
  // Of "lora" alone, which runs as its base does; of the settings above, name, file, sha256 and licence are its own.
  std::string base;                           // The model that it changes.
  std::int64_t scale_millionths = 1'000'000;  // How strongly.
  // What changes while it is registered.
  bool restricted = false;  // Only scopes whose allow-list names it may use it.
  bool loaded = false;      // Instances shall have it in memory.
  bool retired = false;     // Kept for its history alone.
};

// INVALID_ARGUMENT names the field and its bounds.
absl::Status Validate(const Model& model);

// REQUIRES: of Table::kModel. ToRow sets every column of `row`.
Model ModelOf(const Row& row);
void ToRow(const Model& model, Row& row);

// Whether a replica that was loaded for the one would be the same for the other: all but what changes while it is registered.
bool SameReplica(const Model& a, const Model& b);

}  // namespace tollgate::directory
