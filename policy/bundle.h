// Bundle: a policy and the files that it includes as one text, which is what is stored, digested, signed and sent. A plain policy is a
// bundle of one file. Pure; any thread.
//
// Behind the policy comes each file after a line "--- # file: PATH"; then perhaps "--- # bundle: NAME VERSION", which numbers the whole,
// and for each signature "--- # signed: SIGNER BASE64": Ed25519 over kSignedPrefix and all bytes before the first such line.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tollgate::policy {

struct Bundle {
  static constexpr std::string_view kSignedPrefix = "tollgate policy bundle 1\n";
  static constexpr std::size_t kFilesMax = 64;
  static constexpr std::int64_t kVersionMax = 1'000'000'000'000'000;

  struct File {
    std::string path;  // Relative, of letters, digits and . _ - /; no part is "." or "..".
    std::string text;  // Ends with a line's end.
  };
  struct Signature {
    std::string signer;  // As the directory names its key.
    std::string bytes;   // 64.
  };

  std::string policy;  // The YAML.
  std::vector<File> files;
  std::string name;          // Of the policy; empty: not numbered.
  std::int64_t version = 0;  // 1 to kVersionMax.
  std::vector<Signature> signatures;
  std::string signed_bytes;  // What they are over.

  const File* Find(std::string_view path) const;
};

// INVALID_ARGUMENT "SOURCE:line:column: what, remedy".
absl::StatusOr<Bundle> ReadBundle(const std::string& source, std::string_view text);

// The other way. Errors: a file that itself has a line which begins a part, a bad path, too many files.
absl::StatusOr<std::string> WriteBundle(std::string_view policy, std::span<const Bundle::File> files);
// Numbers a text that is not numbered yet; adds a signature to one that is. `name`: the policy's. Errors: it is the other.
absl::StatusOr<std::string> NumberBundle(std::string_view text, const std::string& name, std::int64_t version);
absl::StatusOr<std::string> AddSignature(std::string_view text, const std::string& signer, std::string_view signature);

// The files that a policy names, in order, each once, for whoever is to read them. INVALID_ARGUMENT as ReadBundle.
absl::StatusOr<std::vector<std::string>> FilesNamedIn(const std::string& source, std::string_view policy);

bool IsBundlePath(std::string_view path);

// Whose signature on the bundle is good: the first in its order. `trusted`: public keys (32 bytes) by name. FAILED_PRECONDITION, reason
// POLICY_SIGNATURE: a trusted signer's signature does not hold, even beside one that does, or none is a trusted one's.
using Signers = std::map<std::string, std::string>;
absl::StatusOr<std::string> SignerOf(const Bundle& bundle, const Signers& trusted);

}  // namespace tollgate::policy
