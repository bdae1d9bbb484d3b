#include "tests/bench/texts.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <vector>

#include "base/encoding.h"

namespace tollgate::bench {
namespace {

std::mt19937_64 random_(20261125);
std::size_t Below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
const std::string& Pick(const std::vector<std::string>& from) { return from[Below(from.size())]; }

std::string Digits(std::size_t n) {
  std::string out;
  while (n-- > 0) out += static_cast<char>('0' + Below(10));
  return out;
}

// All files below these folders with that ending, one after another in the order of their names.
class Files {
 public:
  Files(const std::vector<const char*>& folders, const char* ending) {
    namespace fs = std::filesystem;
    std::vector<std::string> paths;
    for (const char* folder : folders) {
      for (const auto& entry : fs::recursive_directory_iterator(fs::path(TOLLGATE_SOURCE_DIR) / folder)) {
        if (entry.path().extension() == ending) paths.push_back(entry.path().string());
      }
    }
    std::sort(paths.begin(), paths.end());
    for (const std::string& path : paths) text_ += base::ReadFile(path).value_or("");
    if (text_.size() < 100'000) std::abort();
  }
  std::string Next(std::size_t bytes) {
    if (at_ + bytes + 4 > text_.size()) at_ = 0;
    const std::size_t begin = at_;
    at_ += bytes;
    while ((static_cast<unsigned char>(text_[at_]) & 0xC0) == 0x80) ++at_;
    return text_.substr(begin, at_ - begin);
  }

 private:
  std::string text_;
  std::size_t at_ = 0;
};

}  // namespace

std::string Word() {
  static const std::vector<std::string> syllables = {"an", "be", "con", "de", "er",  "fi",  "gra", "ho",  "in",
                                                     "ka", "lo", "men", "no", "or",  "pre", "qui", "re",  "sta",
                                                     "ti", "un", "ver", "wa", "ter", "ing", "ly",  "tion"};
  std::string out;
  for (std::size_t n = 1 + Below(3); n > 0; --n) out += Pick(syllables);
  return out;
}

std::string Prose(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) {
    std::string word = Below(5) == 0 ? "the" : Word();
    if (Below(12) == 0) word[0] = static_cast<char>(word[0] - 32);
    out += word;
    const std::size_t mark = Below(60);
    out += mark < 6 ? ", " : mark < 10 ? ". " : mark == 10 ? " (" + Digits(4) + ") " : mark == 11 ? " \u2014 " : mark == 12 ? ".\n\n" : " ";
  }
  return out;
}

std::string Code(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) {
    const std::vector<std::string> lines = {
        "  const auto " + Word() + "_" + Word() + " = " + Word() + "." + Word() + "(" + Digits(2) + ");\n",
        "  if (" + Word() + "->" + Word() + " != nullptr) return " + Word() + "::" + Word() + "(0x" + Digits(4) + ");\n",
        "def " + Word() + "(self, " + Word() + "='" + Word() + "'):\n",
        "    // " + Word() + " " + Word() + " " + Word() + "\n",
        "    \"" + Word() + "-" + Word() + "\": [" + Digits(3) + ", " + Digits(1) + "." + Digits(2) + "],\n",
        "#include <" + Word() + "/" + Word() + ".h>\n"};
    out += Pick(lines);
  }
  return out;
}

std::string Personal(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) {
    const std::vector<std::string> items = {Word() + "." + Word() + "@" + Word() + ".com",
                                            "4111 1111 1111 1111",
                                            "phone (" + Digits(3) + ") " + Digits(3) + "-" + Digits(4),
                                            "192.168." + Digits(2) + ".7",
                                            "536-22-" + Digits(4),
                                            "order " + Digits(8),
                                            "GB82 WEST 1234 5698 7654 32"};
    out += Prose(20 + Below(60)) + " " + Pick(items) + " ";
  }
  return out;
}

std::string Encoded(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) {
    out += Prose(100 + Below(200)) + " " + base::Base64Encode(Prose(60 + Below(120)));
    out += " https://" + Word() + ".example/?q=" + Word() + "%20" + Word() + "%3D" + Word() + " ";
  }
  return out;
}

std::string Pages(std::size_t bytes) {
  static Files files({"docs", "policy", "audit", "metering", "inference", "gateway", "base"}, ".md");
  return files.Next(bytes);
}

std::string Sources(std::size_t bytes) {
  static Files files({"policy", "audit", "metering", "inference", "gateway"}, ".cpp");
  return files.Next(bytes);
}

}  // namespace tollgate::bench
