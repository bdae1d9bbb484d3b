// Policies and texts that the `policy` commands read. Room-internal.
#pragma once

#include <istream>
#include <iterator>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "base/encoding.h"
#include "gateway/cli/context.h"

namespace tollgate::cli {

// The file's text, of standard input for "-"; nothing after the fault was told.
inline std::optional<std::string> ReadText(Context& context, const std::string& file) {
  absl::StatusOr<std::string> text;
  if (file == "-") {
    text = std::string(std::istreambuf_iterator<char>(context.streams.in), std::istreambuf_iterator<char>());
  } else {
    text = base::ReadFile(file);
  }
  if (text.ok() && !base::IsValidUtf8(*text)) text = base::InvalidArgument(fmt::format("{} is not UTF-8 text", file));
  return context.Take(std::move(text));
}

// As ReadText, with the files beside it that the policy includes: one text (policy/bundle.h). One that did not come along is told by the
// compiler, with its place.
std::optional<std::string> ReadPolicyText(Context& context, const std::string& file);

// What is wrong with a policy, in terms of its file: of "acme:3:7: …", as the compiler calls the policy `name`, "policies/acme.yaml:3:7:
// …", and of what it includes "policies/lists/rivals.txt:2:1: …", under a line that says what it is about. What names no place stays as it
// is.
std::string ToldOfFile(const std::string& told, const std::string& name, const std::string& file);

// The path of what the compiler calls "acme", or "acme/lists/rivals.yaml", where `file` is the policy `name`.
std::string PathOf(const std::string& called, const std::string& name, const std::string& file);

// The value, or nothing after what is wrong with the file was told.
template <typename T>
std::optional<T> TakePolicy(Context& context, absl::StatusOr<T> value, const std::string& name, const std::string& file) {
  if (value.ok()) return *std::move(value);
  context.Fail(kUsage, ToldOfFile(base::Message(value.status()), name, file));
  return std::nullopt;
}

// "acme" for "policies/acme.yaml".
inline std::string StemOf(const std::string& file) {
  const std::size_t slash = file.rfind('/');
  const std::string base = slash == std::string::npos ? file : file.substr(slash + 1);
  return base.substr(0, base.find('.'));
}

}  // namespace tollgate::cli
