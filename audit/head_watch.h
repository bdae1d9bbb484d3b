// HeadWatch: remembers how far each log was seen to reach. A log only grows; one that reaches less far was rolled back, which is so noticed
// also where its own instance is gone, with all that it was told. Internal to audit/. Pure; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace tollgate::audit {

struct HeadSeen {
  std::int32_t log_id = 0;
  std::int64_t epoch = 0;
  std::int64_t next_index = 0;
};

class HeadWatch {
 public:
  // `heads`: all logs that there are now. Gives what is missing of those seen before, a sentence a log, once.
  std::vector<std::string> Look(std::span<const HeadSeen> heads);

 private:
  std::map<std::int32_t, HeadSeen> seen_;
};

}  // namespace tollgate::audit
