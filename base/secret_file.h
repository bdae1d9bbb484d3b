// Files that hold a secret, and who may read and write them.
//
// The rule: nobody may write such a file but its owner, and nobody may read it but its owner and, where the file is root's, one group:
// root's, or one that this process is of. So come what systemd and Kubernetes give a process that is not root (`fsGroup`, `defaultMode:
// 0400`): root owns it, and nobody else could hand it to that process alone.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tollgate::base {

// Which group may read: as the rule says, or whichever the file's owner chose (a database's URL, which several logins may share).
enum class SecretReaders { kByRule, kAnyGroup };

// Whose a file is, and who may do what with it.
struct FileAccess {
  std::uint32_t owner = 0;
  std::uint32_t group = 0;
  std::uint32_t mode = 0;
};

// "others may read", "others may write", or empty: nothing is wrong. `groups`: those that the process is of.
std::string_view SecretFault(const FileAccess& file, std::span<const std::uint32_t> groups, SecretReaders readers);

// The same of the file at `path` and this process, with the remedy behind it: "others may read; run: chmod 600 /etc/x". Empty too where
// there is no such file: who reads it says so.
std::string SecretFileFault(const std::string& path, SecretReaders readers = SecretReaders::kByRule);

}  // namespace tollgate::base
