// What the pipeline works with. All of it outlives the pipeline.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <functional>
#include <set>
#include <string>

#include "gateway/pipeline/prompt.h"

namespace tollgate::audit {
class Journal;
class Keys;
}  // namespace tollgate::audit
namespace tollgate::base {
class Clock;
}
namespace tollgate::directory {
class Directory;
}
namespace tollgate::gates {
class Gates;
}
namespace tollgate::identity {
class Identity;
}
namespace tollgate::inference {
class Pool;
}
namespace tollgate::metering {
class Quotas;
}

namespace tollgate::pipeline {

class Breakers;
class Answerers;

inline constexpr std::chrono::milliseconds kJudgeMax{20'000};

struct PipelineOptions {
  std::chrono::milliseconds append_timeout{5000};       // How long a request waits for its record to be durable.
  std::chrono::milliseconds deadline_default{120'000};  // For callers that name none.
  std::chrono::milliseconds deadline_max{600'000};
  std::chrono::milliseconds segment{100};          // A stream's output goes on record and out this often.
  std::chrono::milliseconds authority_check{200};  // How often a running request asks whether it may go on.
  std::int64_t running_max = 1024;                 // Requests under way; UNAVAILABLE beyond.
  std::int64_t answer_bytes_max = 512ll << 20;     // Large answers, from routing until clients have them; UNAVAILABLE beyond.
  std::int64_t extension_tokens = 64;              // Quota is taken in such steps while decoding.
  std::int64_t unasked_tokens = 4096;       // Of models that do not resume, in such steps for all replies, unless max_tokens says more.
  std::int64_t seal_here_bytes = 64 << 10;  // Contents from this size are sealed by `cpu`.
  // Prompts from this size are read, judged and rendered there: where every word may be encoded, all detectors take 0.2 ms a KiB, not
  // 0.015.
  std::int64_t inspect_here_bytes = 8 << 10;
  std::chrono::milliseconds judge_max = kJudgeMax;  // Of one text, by policy: who wrote rules that take longer refuses it.
  PromptLimits limits;
  std::string build;  // Of this program, for strict answers.
};

struct Collaborators {
  const base::Clock* clock = nullptr;
  directory::Directory* directory = nullptr;
  const identity::Identity* identity = nullptr;
  metering::Quotas* quotas = nullptr;
  audit::Journal* journal = nullptr;
  audit::Keys* keys = nullptr;
  inference::Pool* pool = nullptr;
  Answerers* answerers = nullptr;    // Null: nobody can be asked; rules that ask then find no answer.
  boost::asio::any_io_executor io;   // For the pipeline's own timers.
  boost::asio::any_io_executor cpu;  // For long computations; each request has at most one there.
  PipelineOptions options;
  gates::Gates* gates = nullptr;                         // Null: rules that ask it something refuse.
  Breakers* breakers = nullptr;                          // Of guard models; null: the pipeline's own.
  std::set<std::string, std::less<>> configured_models;  // Those that tollgate.yaml names, whatever the registry says of them.
};

}  // namespace tollgate::pipeline
