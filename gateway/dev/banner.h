// What `tollgate dev` prints when it is ready: where it listens, the keys, and lines to paste. Pure.
#pragma once

#include <string>
#include <vector>

#include "gateway/cli/dev_files.h"

namespace tollgate::dev {

struct BannerFacts {
  cli::DevEndpoints endpoints;
  std::vector<cli::DevKey> keys;
  std::string program;  // As it can be typed, with its options: "build/dev/bin/tollgate".
  std::string folder;   // "var/dev"
  double start_s = 0;
};

std::string Banner(const BannerFacts& facts);

}  // namespace tollgate::dev
