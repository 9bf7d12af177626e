#include "hw_models/vtx/doctor_names.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <unordered_map>
#include <vector>

namespace cupel::vtx {
namespace {

struct Alias {
  const char* name;
  F field;
};

// What the words below do not already make equal to the field's own name.
constexpr Alias kAliases[] = {
    // Linux, arch/x86/include/asm/vmx.h
    {"VIRTUAL_PROCESSOR_ID", F::vpid},
    {"POSTED_INTR_NV", F::posted_interrupt_vector},
    {"GUEST_PML_INDEX", F::pml_index},
    {"VIRTUAL_APIC_PAGE_ADDR", F::virtual_apic_address},
    {"POSTED_INTR_DESC_ADDR", F::posted_interrupt_descriptor},
    {"VM_FUNCTION_CONTROL", F::vm_function_controls},
    {"XSS_EXIT_BITMAP", F::xss_exiting_bitmap},
    {"TERTIARY_VM_EXEC_CONTROL", F::tertiary_controls},
    {"PIN_BASED_VM_EXEC_CONTROL", F::pin_based_controls},
    {"CPU_BASED_VM_EXEC_CONTROL", F::primary_processor_controls},
    {"SECONDARY_VM_EXEC_CONTROL", F::secondary_processor_controls},
    {"NOTIFY_WINDOW", F::instruction_timeout},
    {"VMX_INSTRUCTION_INFO", F::exit_instruction_info},
    {"GUEST_INTERRUPTIBILITY_INFO", F::guest_interruptibility_state},
    {"CR3_TARGET_VALUE0", F::cr3_target_0},
    {"CR3_TARGET_VALUE1", F::cr3_target_1},
    {"CR3_TARGET_VALUE2", F::cr3_target_2},
    {"CR3_TARGET_VALUE3", F::cr3_target_3},
    {"GUEST_BNDCFGS", F::guest_bndcfgs},
    // SDM vol. 3D, appendix "Field Encoding in VMCS"
    {"Virtual-processor identifier", F::vpid},
    {"Posted-interrupt notification vector", F::posted_interrupt_vector},
    {"MSR bitmaps", F::msr_bitmap},
    {"EPT pointer", F::ept_pointer},
    {"EPTP", F::ept_pointer},
    {"Virtualization-exception information address", F::ve_information_address},
    {"Sub-page-permission-table pointer", F::spp_table_pointer},
    {"Tertiary processor-based VM-execution controls", F::tertiary_controls},
    {"Low PASID directory address", F::low_pasid_directory},
    {"Shared EPT pointer", F::shared_ept_pointer},
    {"HLATP", F::hlat_pointer},
    {"PID-pointer table address", F::pid_pointer_table},
    {"Secondary VM-exit controls", F::secondary_exit_controls},
    {"Primary VM-exit controls", F::exit_controls},
    {"IA32_SPEC_CTRL mask", F::spec_ctrl_mask},
    {"Pin-based VM-execution controls", F::pin_based_controls},
    {"Primary processor-based VM-execution controls", F::primary_processor_controls},
    {"Processor-based VM-execution controls", F::primary_processor_controls},
    {"Secondary processor-based VM-execution controls", F::secondary_processor_controls},
    {"Page-fault error-code mask", F::page_fault_error_code_mask},
    {"VM-entry interruption-information field", F::entry_interruption_info},
    {"PLE_Gap", F::ple_gap},
    {"PLE_Window", F::ple_window},
    {"Instruction-timeout control", F::instruction_timeout},
    {"VM-exit interruption information", F::exit_interruption_info},
    {"IDT-vectoring information field", F::idt_vectoring_info},
    {"VM-exit instruction information", F::exit_instruction_info},
    {"CR3-target value 0", F::cr3_target_0},
    {"CR3-target value 1", F::cr3_target_1},
    {"CR3-target value 2", F::cr3_target_2},
    {"CR3-target value 3", F::cr3_target_3},
    {"IA32_SYSENTER_CS host", F::host_sysenter_cs},
    {"Guest IA32_INTERRUPT_SSP_TABLE_ADDR", F::guest_interrupt_ssp_table},
    {"Host IA32_INTERRUPT_SSP_TABLE_ADDR", F::host_interrupt_ssp_table},
    {"Guest IA32_FRED_STKLVLS", F::guest_fred_stack_levels},
    {"Host IA32_FRED_STKLVLS", F::host_fred_stack_levels},
    {"Posted-interrupt descriptor address", F::posted_interrupt_descriptor},
};

// Words that carry no meaning here, and words that mean the same.
constexpr std::string_view kDropped[] = {"address",   "addr", "of",  "the", "ia32",
                                         "field",     "vm",   "vmx", "and", "full",
                                         "execution", "exec", "vmcs"};
constexpr std::pair<std::string_view, std::string_view> kSame[] = {
    {"interruption", "intr"}, {"interrupt", "intr"}, {"information", "info"},
    {"ar", "access"},         {"bytes", "rights"},   {"len", "length"},
    {"dbg", "debug"},         {"pdptr0", "pdpte0"},  {"pdptr1", "pdpte1"},
    {"pdptr2", "pdpte2"},     {"pdptr3", "pdpte3"},  {"pointers", "pointer"},
};

std::string without_parentheses(std::string_view name) {
  std::string text;
  int depth = 0;
  for (const char c : name) {
    if (c == '(') ++depth;
    if (depth == 0) text += c;
    if (c == ')' && depth > 0) --depth;
  }
  return text;
}

std::vector<std::string> words(std::string_view name) {
  std::vector<std::string> all{""};
  for (const char c : without_parentheses(name)) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      all.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!all.back().empty()) {
      all.emplace_back();
    }
  }
  if (all.back().empty()) all.pop_back();
  return all;
}

std::string normal(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& word : list) {
    if (std::find(std::begin(kDropped), std::end(kDropped), word) != std::end(kDropped)) continue;
    std::string_view same = word;
    for (const auto& [from, to] : kSame)
      if (word == from) same = to;
    text += same;
  }
  return text;
}

const std::unordered_map<std::string, F>& dictionary() {
  static const auto map = [] {
    std::unordered_map<std::string, F> all;
    for (const Alias& alias : kAliases) all.emplace(normal(words(alias.name)), alias.field);
    for (size_t n = 0; n < kFieldCount; ++n)
      all.insert_or_assign(normal(words(name_of(static_cast<F>(n)))), static_cast<F>(n));
    return all;
  }();
  return map;
}

std::optional<NamedField> by_encoding(std::string_view name) {
  const bool marked = name.starts_with("0x") || name.starts_with("0X") || name.ends_with('h') ||
                      name.ends_with('H');
  if (!marked && (name.size() < 3 || std::isdigit(static_cast<unsigned char>(name[0])) == 0))
    return std::nullopt;
  const auto number = parse_number(name, true);
  if (!number || *number > 0xffff) return std::nullopt;
  const auto encoding = static_cast<uint32_t>(*number);
  const FieldInfo info = field_info(encoding);
  const bool high = x86::is_high_access(encoding);
  if (info.index == F::none || (high && info.width != x86::FieldWidth::bits64)) return std::nullopt;
  return NamedField{info.index, high};
}

size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::optional<NamedField> find_field(std::string_view name) {
  if (const auto numbered = by_encoding(name)) return numbered;
  auto list = words(name);
  const auto& map = dictionary();
  if (const auto at = map.find(normal(list)); at != map.end()) return NamedField{at->second, false};
  const bool high = !list.empty() && list.back() == "high";
  if (!high) return std::nullopt;
  list.pop_back();
  const auto at = map.find(normal(list));
  if (at == map.end() || x86::field_width(encoding_of(at->second)) != x86::FieldWidth::bits64)
    return std::nullopt;
  return NamedField{at->second, true};
}

std::string nearest_field(std::string_view name) {
  constexpr size_t longest = 80;  // of what anybody would mistype
  const std::string wanted = normal(words(name.substr(0, longest)));
  std::string best;
  size_t least = wanted.size() / 3 + 1;
  for (const auto& [text, field] : dictionary()) {
    const size_t d = distance(wanted, text);
    const std::string ours = name_of(field);
    if (d > least || (d == least && (best.empty() || ours >= best))) continue;
    least = d;
    best = ours;
  }
  return best;
}

std::optional<uint64_t> parse_number(std::string_view text, bool hex) {
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
    hex = true;
  } else if (text.ends_with('h') || text.ends_with('H')) {
    text.remove_suffix(1);
    hex = true;
  }
  uint64_t value = 0;
  bool any = false;
  for (const char c : text) {
    if (c == '_' && any) continue;
    const char low = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    unsigned digit = 99;
    if (low >= '0' && low <= '9') digit = static_cast<unsigned>(low - '0');
    if (hex && low >= 'a' && low <= 'f') digit = static_cast<unsigned>(low - 'a' + 10);
    const uint64_t base = hex ? 16 : 10;
    if (digit >= base || value > (~0ull - digit) / base) return std::nullopt;
    value = value * base + digit;
    any = true;
  }
  return any ? std::optional(value) : std::nullopt;
}

}  // namespace cupel::vtx
