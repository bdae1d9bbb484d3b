// Lines are looked at one by one: those that begin a part are few and begin alike, and in YAML they begin a document, so that a bundle is
// still a stream of documents to other readers.
//
// Tested by tests/policy/bundle_test.cpp.
#include "policy/bundle.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "base/ed25519.h"
#include "base/encoding.h"
#include "base/error_detail.h"
#include "base/yaml_documents.h"
#include "policy/rule_yaml.h"
#include "policy/yaml_reader.h"

namespace tollgate::policy {
namespace {

constexpr std::string_view kFile = "--- # file: ", kBundle = "--- # bundle: ", kSigned = "--- # signed: ";
constexpr std::size_t kSignatureBytes = 64, kSignaturesMax = 8, kPathBytesMax = 128;

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789._-") == std::string_view::npos;
}

bool BeginsPart(std::string_view line) { return line.starts_with(kFile) || line.starts_with(kBundle) || line.starts_with(kSigned); }

// "NAME VERSION".
bool ReadNumber(std::string_view text, Bundle& out) {
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos) return false;
  out.name = text.substr(0, space);
  const std::string_view digits = text.substr(space + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.version);
  return IsName(out.name) && error == std::errc() && end == digits.data() + digits.size() && out.version > 0 &&
         out.version <= Bundle::kVersionMax;
}

// "SIGNER BASE64".
bool ReadSignature(std::string_view text, Bundle& out) {
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos || out.signatures.size() == kSignaturesMax) return false;
  auto bytes = base::Base64Decode(text.substr(space + 1));
  if (!IsName(text.substr(0, space)) || !bytes.ok() || bytes->size() != kSignatureBytes) return false;
  out.signatures.push_back({std::string(text.substr(0, space)), *std::move(bytes)});
  return true;
}

class Reader {
 public:
  Reader(const std::string& source, std::string_view text) : source_(source), text_(text) {}

  absl::StatusOr<Bundle> Read() {
    for (std::size_t at = 0; at < text_.size();) {
      const std::size_t end = std::min(text_.find('\n', at), text_.size() - 1) + 1;
      ++line_;
      const std::string_view whole = text_.substr(at, end - at);
      if (BeginsPart(whole)) {
        TG_RETURN_IF_ERROR(Part(whole.substr(0, whole.find_last_not_of("\r\n") + 1), at));
      } else if (!out_.name.empty()) {
        return Wrong("nothing but signatures stands behind the bundle's number; remove this");
      } else {
        (out_.files.empty() ? out_.policy : out_.files.back().text) += whole;
      }
      at = end;
    }
    if (out_.signatures.empty()) out_.signed_bytes = std::string(Bundle::kSignedPrefix) + std::string(text_);
    return std::move(out_);
  }

 private:
  absl::Status Wrong(std::string_view what) const { return PolicyError(source_, line_, 1, what); }

  absl::Status Part(std::string_view line, std::size_t at) {
    if (line.starts_with(kFile)) {
      const std::string_view path = line.substr(kFile.size());
      if (!out_.name.empty() || !IsBundlePath(path)) return Wrong("'# file:' names a relative path, before the bundle's number");
      if (out_.Find(path) != nullptr) return Wrong(fmt::format("the file '{}' is here a second time; remove one", path));
      if (out_.files.size() == Bundle::kFilesMax) return Wrong("a policy includes at most 64 files; merge some");
      out_.files.push_back({std::string(path), ""});
      return absl::OkStatus();
    }
    if (line.starts_with(kBundle)) {
      if (!out_.name.empty() || !ReadNumber(line.substr(kBundle.size()), out_))
        return Wrong("'# bundle:' says the policy's name and a number from 1 to 10^15, once");
      return absl::OkStatus();
    }
    if (out_.name.empty()) return Wrong("a signature stands behind the bundle's number; see `tollgate policy bundle`");
    if (out_.signatures.empty()) out_.signed_bytes = std::string(Bundle::kSignedPrefix) + std::string(text_.substr(0, at));
    if (!ReadSignature(line.substr(kSigned.size()), out_))
      return Wrong("'# signed:' says the signer and 64 bytes in base64, at most 8 times");
    return absl::OkStatus();
  }

  const std::string& source_;
  const std::string_view text_;
  int line_ = 0;
  Bundle out_;
};

std::string WithLineEnd(std::string_view text) {
  std::string out(text);
  if (!out.empty() && out.back() != '\n') out += '\n';
  return out;
}

bool HasPart(std::string_view text) {
  while (!text.empty()) {
    if (BeginsPart(text)) return true;
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  }
  return false;
}

}  // namespace

bool IsBundlePath(std::string_view path) {
  if (path.empty() || path.size() > kPathBytesMax) return false;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    const bool plain = std::all_of(part.begin(), part.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    });
    if (part.empty() || part == "." || part == ".." || !plain) return false;
    at = end + 1;
  }
  return true;
}

const Bundle::File* Bundle::Find(std::string_view path) const {
  const auto file = std::find_if(files.begin(), files.end(), [&](const File& its) { return its.path == path; });
  return file == files.end() ? nullptr : &*file;
}

absl::StatusOr<Bundle> ReadBundle(const std::string& source, std::string_view text) { return Reader(source, text).Read(); }

absl::StatusOr<std::string> WriteBundle(std::string_view policy, std::span<const Bundle::File> files) {
  if (files.empty()) return std::string(policy);
  std::string out = WithLineEnd(policy);
  for (const Bundle::File& file : files) {
    if (!IsBundlePath(file.path))
      return base::InvalidArgument(fmt::format("'{}' is no relative path of letters, digits and . _ - /", file.path));
    if (HasPart(file.text))
      return base::InvalidArgument(
          fmt::format("{} has a line that begins with '--- # file:', 'bundle:' or 'signed:'; change it", file.path));
    out += fmt::format("{}{}\n{}", kFile, file.path, WithLineEnd(file.text));
  }
  return out;
}

absl::StatusOr<std::string> NumberBundle(std::string_view text, const std::string& name, std::int64_t version) {
  TG_ASSIGN(const Bundle bundle, ReadBundle(name, text));
  if (!bundle.name.empty())
    return base::FailedPrecondition(
        fmt::format("this is bundle {} {} already; make a new one from the files", bundle.name, bundle.version));
  if (!IsName(name) || version < 1 || version > Bundle::kVersionMax)
    return base::InvalidArgument("a bundle has its policy's name and a version from 1 to 10^15");
  return fmt::format("{}{}{} {}\n", WithLineEnd(text), kBundle, name, version);
}

absl::StatusOr<std::string> AddSignature(std::string_view text, const std::string& signer, std::string_view signature) {
  TG_ASSIGN(const Bundle bundle, ReadBundle(signer, text));
  if (bundle.name.empty())
    return base::FailedPrecondition("this is no bundle yet; make one: tollgate policy bundle FILE --bundle-version 1");
  if (!IsName(signer)) return base::InvalidArgument("a signer's name is 1 to 64 of a-z, 0-9, '.', '_' and '-'");
  return fmt::format("{}{}{} {}\n", WithLineEnd(text), kSigned, signer, base::Base64Encode(signature));
}

absl::StatusOr<std::vector<std::string>> FilesNamedIn(const std::string& source, std::string_view policy) {
  std::vector<std::string> out;
  const auto add = [&](const std::string& path) {
    if (std::find(out.begin(), out.end(), path) == out.end()) out.push_back(path);
  };
  // What is not as it should be is told when the policy is compiled, with what is needed for that here or not.
  try {
    const YAML::Node root = base::ReadYaml(std::string(policy)).first;
    if (!root.IsDefined() || !root.IsMap()) return out;
    if (const YAML::Node include = root["include"]) {
      if (include.IsScalar()) add(include.Scalar());
      for (std::size_t i = 0; include.IsSequence() && i < include.size(); ++i) {
        if (include[i].IsScalar()) add(include[i].Scalar());
      }
    }
    const YAML::Node lists = root["lists"];
    if (!lists || !lists.IsMap()) return out;
    for (const auto& entry : lists) {
      const YAML::Node file = entry.second.IsMap() ? entry.second["file"] : YAML::Node();
      if (file && file.IsScalar()) add(file.Scalar());
    }
  } catch (const YAML::Exception& error) {
    return PolicyError(source, std::max(error.mark.line, 0) + 1, std::max(error.mark.column, 0) + 1,
                       fmt::format("not well-formed YAML: {}; check indentation, and quote values that hold : or #", error.msg));
  }
  return out;
}

absl::StatusOr<std::string> SignerOf(const Bundle& bundle, const Signers& trusted) {
  std::string out;
  for (const Bundle::Signature& signature : bundle.signatures) {
    const auto key = trusted.find(signature.signer);
    if (key == trusted.end()) continue;
    if (!base::Ed25519Verify(key->second, bundle.signed_bytes, signature.bytes)) {
      return base::WithDetail(
          base::FailedPrecondition(fmt::format("the signature of {} does not hold: the bundle was changed, or signed with "
                                               "another key; get it anew from {}",
                                               signature.signer, signature.signer)),
          {.reason = "POLICY_SIGNATURE", .may_retry = false});
    }
    if (out.empty()) out = signature.signer;
  }
  if (!out.empty()) return out;
  return base::WithDetail(
      base::FailedPrecondition(bundle.signatures.empty()
                                   ? "the bundle is not signed; sign it: tollgate policy sign FILE --key KEY.pem --signer NAME"
                                   : "nobody whose signature this org trusts has signed the bundle; see `tollgate policy signers`"),
      {.reason = "POLICY_SIGNATURE", .may_retry = false});
}

}  // namespace tollgate::policy
