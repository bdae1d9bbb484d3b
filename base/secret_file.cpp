// What an access list adds to the three classes of a mode shows as bits of the group (its mask), so that it is judged with them.
//
// Tested by tests/base/secret_file_test.cpp.
#include "base/secret_file.h"

#include <algorithm>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace tollgate::base {
namespace {

std::vector<std::uint32_t> OwnGroups() {
  std::vector<gid_t> more(static_cast<std::size_t>(std::max(0, ::getgroups(0, nullptr))));
  const int count = ::getgroups(static_cast<int>(more.size()), more.data());
  std::vector<std::uint32_t> out(more.begin(), more.begin() + std::max(0, count));
  out.push_back(::getegid());
  return out;
}

}  // namespace

std::string_view SecretFault(const FileAccess& file, std::span<const std::uint32_t> groups, SecretReaders readers) {
  if ((file.mode & S_IRWXO) != 0) return "others may read";
  if ((file.mode & S_IWGRP) != 0) return "others may write";
  if ((file.mode & S_IRWXG) == 0 || readers == SecretReaders::kAnyGroup) return "";
  const bool ours = file.group == 0 || std::find(groups.begin(), groups.end(), file.group) != groups.end();
  return file.owner == 0 && ours ? "" : "others may read";
}

std::string SecretFileFault(const std::string& path, SecretReaders readers) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return "";
  const std::string_view fault = SecretFault({info.st_uid, info.st_gid, info.st_mode}, OwnGroups(), readers);
  if (fault.empty()) return "";
  if (info.st_uid == 0 && ::geteuid() != 0) {
    return fmt::format(
        "{}; have root give it the mode 0400, or 0440 with a group of this process (of Kubernetes: defaultMode 0400 and fsGroup)", fault);
  }
  return fmt::format("{}; run: chmod 600 {}", fault, path);
}

}  // namespace tollgate::base
