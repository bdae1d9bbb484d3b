#include "tests/bench/vectorscan.h"

#ifdef TOLLGATE_VECTORSCAN

#include <cstdlib>

#include <hs/hs.h>

namespace tollgate::bench {
namespace {

constexpr unsigned kFlags = HS_FLAG_UTF8 | HS_FLAG_ALLOWEMPTY;

class Block final : public Vectorscan {
 public:
  explicit Block(const std::vector<std::string>& regexes) {
    std::vector<const char*> taken;
    std::vector<unsigned> flags, ids;
    for (const std::string& regex : regexes) {  // A set with one that it does not take is not compiled at all.
      hs_database_t* one = nullptr;
      hs_compile_error_t* error = nullptr;
      if (hs_compile(regex.c_str(), kFlags, HS_MODE_BLOCK, nullptr, &one, &error) == HS_SUCCESS) {
        ids.push_back(static_cast<unsigned>(taken.size()));
        flags.push_back(kFlags);
        taken.push_back(regex.c_str());
        hs_free_database(one);
      } else {
        hs_free_compile_error(error);
      }
    }
    patterns_ = taken.size();
    hs_compile_error_t* error = nullptr;
    const auto made = hs_compile_multi(taken.data(), flags.data(), ids.data(), static_cast<unsigned>(taken.size()), HS_MODE_BLOCK, nullptr,
                                       &set_, &error);
    if (made != HS_SUCCESS || hs_alloc_scratch(set_, &scratch_) != HS_SUCCESS) std::abort();
  }
  ~Block() override {
    hs_free_scratch(scratch_);
    hs_free_database(set_);
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  std::size_t patterns() const override { return patterns_; }
  std::size_t Scan(const std::string& text) const override {
    std::size_t ends = 0;
    const auto count = [](unsigned, unsigned long long, unsigned long long, unsigned, void* to) {
      ++*static_cast<std::size_t*>(to);
      return 0;
    };
    if (hs_scan(set_, text.data(), static_cast<unsigned>(text.size()), 0, scratch_, count, &ends) != HS_SUCCESS) std::abort();
    return ends;
  }

 private:
  hs_database_t* set_ = nullptr;
  hs_scratch_t* scratch_ = nullptr;
  std::size_t patterns_ = 0;
};

}  // namespace

std::unique_ptr<Vectorscan> MakeVectorscan(const std::vector<std::string>& regexes) { return std::make_unique<Block>(regexes); }

}  // namespace tollgate::bench

#else

namespace tollgate::bench {

std::unique_ptr<Vectorscan> MakeVectorscan(const std::vector<std::string>&) { return nullptr; }

}  // namespace tollgate::bench

#endif
