// What Linux' KVM writes to the kernel log when a VM entry fails: dump_vmcs() of
// arch/x86/kvm/vmx/vmx.c, of Linux 4.x to 6.x.
#include <cctype>
#include <optional>

#include "hw_models/vtx/doctor_dump.h"
#include "hw_models/vtx/doctor_names.h"

namespace cupel::vtx {
namespace {

enum class Area : uint8_t { none, guest, host, control };

constexpr std::string_view kGuestMark = "*** Guest State ***", kHostMark = "*** Host State ***",
                           kControlMark = "*** Control State ***", kLineMark = "kvm_intel: ";

// `head` is what stands before the first key of the line ("CR0: actual=..."), if anything.
struct Key {
  Area area;
  std::string_view head, key;
  F field;
};

constexpr Key kKeys[] = {
    {Area::guest, "CR0", "actual", F::guest_cr0},
    {Area::guest, "CR0", "shadow", F::cr0_read_shadow},
    {Area::guest, "CR0", "gh_mask", F::cr0_guest_host_mask},
    {Area::guest, "CR4", "actual", F::guest_cr4},
    {Area::guest, "CR4", "shadow", F::cr4_read_shadow},
    {Area::guest, "CR4", "gh_mask", F::cr4_guest_host_mask},
    {Area::guest, "", "CR3", F::guest_cr3},
    {Area::guest, "", "PDPTR0", F::guest_pdpte0},
    {Area::guest, "", "PDPTR1", F::guest_pdpte1},
    {Area::guest, "", "PDPTR2", F::guest_pdpte2},
    {Area::guest, "", "PDPTR3", F::guest_pdpte3},
    {Area::guest, "", "RSP", F::guest_rsp},
    {Area::guest, "", "RIP", F::guest_rip},
    {Area::guest, "", "RFLAGS", F::guest_rflags},
    {Area::guest, "", "DR7", F::guest_dr7},
    {Area::guest, "Sysenter", "RSP", F::guest_sysenter_esp},
    {Area::guest, "GDTR", "limit", F::guest_gdtr_limit},
    {Area::guest, "GDTR", "base", F::guest_gdtr_base},
    {Area::guest, "IDTR", "limit", F::guest_idtr_limit},
    {Area::guest, "IDTR", "base", F::guest_idtr_base},
    {Area::guest, "", "EFER", F::guest_efer},
    {Area::guest, "", "PAT", F::guest_pat},
    {Area::guest, "", "DebugCtl", F::guest_debugctl},
    {Area::guest, "", "DebugExceptions", F::guest_pending_debug_exceptions},
    {Area::guest, "", "PerfGlobCtl", F::guest_perf_global_ctrl},
    {Area::guest, "", "BndCfgS", F::guest_bndcfgs},
    {Area::guest, "", "Interruptibility", F::guest_interruptibility_state},
    {Area::guest, "", "ActivityState", F::guest_activity_state},
    {Area::guest, "", "InterruptStatus", F::guest_interrupt_status},
    {Area::guest, "", "S_CET", F::guest_s_cet},
    {Area::guest, "", "SSP", F::guest_ssp},
    {Area::guest, "", "SSP TABLE", F::guest_interrupt_ssp_table},
    {Area::host, "", "RIP", F::host_rip},
    {Area::host, "", "RSP", F::host_rsp},
    {Area::host, "", "CS", F::host_cs_selector},
    {Area::host, "", "SS", F::host_ss_selector},
    {Area::host, "", "DS", F::host_ds_selector},
    {Area::host, "", "ES", F::host_es_selector},
    {Area::host, "", "FS", F::host_fs_selector},
    {Area::host, "", "GS", F::host_gs_selector},
    {Area::host, "", "TR", F::host_tr_selector},
    {Area::host, "", "FSBase", F::host_fs_base},
    {Area::host, "", "GSBase", F::host_gs_base},
    {Area::host, "", "TRBase", F::host_tr_base},
    {Area::host, "", "GDTBase", F::host_gdtr_base},
    {Area::host, "", "IDTBase", F::host_idtr_base},
    {Area::host, "", "CR0", F::host_cr0},
    {Area::host, "", "CR3", F::host_cr3},
    {Area::host, "", "CR4", F::host_cr4},
    {Area::host, "Sysenter", "RSP", F::host_sysenter_esp},
    {Area::host, "", "EFER", F::host_efer},
    {Area::host, "", "PAT", F::host_pat},
    {Area::host, "", "PerfGlobCtl", F::host_perf_global_ctrl},
    {Area::host, "", "S_CET", F::host_s_cet},
    {Area::host, "", "SSP", F::host_ssp},
    {Area::host, "", "SSP TABLE", F::host_interrupt_ssp_table},
    {Area::control, "", "PinBased", F::pin_based_controls},
    {Area::control, "", "CPUBased", F::primary_processor_controls},
    {Area::control, "", "SecondaryExec", F::secondary_processor_controls},
    {Area::control, "", "TertiaryExec", F::tertiary_controls},
    {Area::control, "", "EntryControls", F::entry_controls},
    {Area::control, "", "ExitControls", F::exit_controls},
    {Area::control, "", "SecondaryExitControls", F::secondary_exit_controls},
    {Area::control, "", "ExceptionBitmap", F::exception_bitmap},
    {Area::control, "", "PFECmask", F::page_fault_error_code_mask},
    {Area::control, "", "PFECmatch", F::page_fault_error_code_match},
    {Area::control, "VMEntry", "intr_info", F::entry_interruption_info},
    {Area::control, "VMEntry", "errcode", F::entry_exception_error_code},
    {Area::control, "VMEntry", "ilen", F::entry_instruction_length},
    {Area::control, "VMExit", "intr_info", F::exit_interruption_info},
    {Area::control, "VMExit", "errcode", F::exit_interruption_error_code},
    {Area::control, "VMExit", "ilen", F::exit_instruction_length},
    {Area::control, "", "reason", F::exit_reason},
    {Area::control, "", "qualification", F::exit_qualification},
    {Area::control, "IDTVectoring", "info", F::idt_vectoring_info},
    {Area::control, "IDTVectoring", "errcode", F::idt_vectoring_error_code},
    {Area::control, "", "TSC Offset", F::tsc_offset},
    {Area::control, "", "TSC Multiplier", F::tsc_multiplier},
    {Area::control, "", "TPR Threshold", F::tpr_threshold},
    {Area::control, "", "APIC-access addr", F::apic_access_address},
    {Area::control, "", "virt-APIC addr", F::virtual_apic_address},
    {Area::control, "", "PostedIntrVec", F::posted_interrupt_vector},
    {Area::control, "", "EPT pointer", F::ept_pointer},
    {Area::control, "PLE", "Gap", F::ple_gap},
    {Area::control, "PLE", "Window", F::ple_window},
    {Area::control, "", "Virtual processor ID", F::vpid},
};

constexpr struct {
  std::string_view name;
  F selector, rights, limit, base;
} kSegments[] = {
    {"ES", F::guest_es_selector, F::guest_es_access_rights, F::guest_es_limit, F::guest_es_base},
    {"CS", F::guest_cs_selector, F::guest_cs_access_rights, F::guest_cs_limit, F::guest_cs_base},
    {"SS", F::guest_ss_selector, F::guest_ss_access_rights, F::guest_ss_limit, F::guest_ss_base},
    {"DS", F::guest_ds_selector, F::guest_ds_access_rights, F::guest_ds_limit, F::guest_ds_base},
    {"FS", F::guest_fs_selector, F::guest_fs_access_rights, F::guest_fs_limit, F::guest_fs_base},
    {"GS", F::guest_gs_selector, F::guest_gs_access_rights, F::guest_gs_limit, F::guest_gs_base},
    {"LDTR", F::guest_ldtr_selector, F::guest_ldtr_access_rights, F::guest_ldtr_limit,
     F::guest_ldtr_base},
    {"TR", F::guest_tr_selector, F::guest_tr_access_rights, F::guest_tr_limit, F::guest_tr_base},
};

std::optional<F> find_key(Area area, std::string_view head, std::string_view key) {
  if (area == Area::guest) {
    for (const auto& s : kSegments) {
      if (s.name != head) continue;
      if (key == "sel") return s.selector;
      if (key == "attr") return s.rights;
      if (key == "limit") return s.limit;
      if (key == "base") return s.base;
    }
  }
  for (const Key& k : kKeys)
    if (k.area == area && k.head == head && k.key == key) return k.field;
  return std::nullopt;
}

bool is_hex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

// Reads "0x1f", "1f" from the front; the rest stays.
std::optional<uint64_t> take_hex(std::string_view& text) {
  text = text.substr(std::min(text.size(), text.find_first_not_of(" \t")));
  size_t end = text.starts_with("0x") ? 2 : 0;
  while (end < text.size() && is_hex(text[end])) ++end;
  const auto value = parse_number(text.substr(0, end), true);
  text.remove_prefix(end);
  return value;
}

// Time stamps, host names and "kvm_intel:" before the text itself: "[  12.3] kvm_intel: RSP = ...".
std::string_view without_prefix(std::string_view line) {
  for (const std::string_view mark : {"kvm_intel: ", "kvm: ", "kernel: "})
    if (const size_t at = line.rfind(mark); at != std::string_view::npos)
      line.remove_prefix(at + mark.size());
  if (line.starts_with('[')) {
    const size_t end = line.find(']');
    if (end != std::string_view::npos) line.remove_prefix(end + 1);
  }
  // A log made by a script may have no space after the bracket, or several.
  return trimmed(line);
}

// "Sysenter ... CS:RIP=0010:ffffffff81001000"
void put_sysenter(VmcsDump& dump, Area area, uint64_t selector, std::string_view& rest,
                  unsigned line) {
  const bool guest = area == Area::guest;
  dump.put(guest ? F::guest_sysenter_cs : F::host_sysenter_cs, false, selector, line);
  if (!rest.starts_with(':')) return;
  rest.remove_prefix(1);
  if (const auto rip = take_hex(rest))
    dump.put(guest ? F::guest_sysenter_eip : F::host_sysenter_eip, false, *rip, line);
}

// "SVI|RVI = 00|3c"
void put_interrupt_status(VmcsDump& dump, uint64_t svi, std::string_view& rest, unsigned line) {
  if (!rest.starts_with('|')) return;
  rest.remove_prefix(1);
  if (const auto rvi = take_hex(rest))
    dump.put(F::guest_interrupt_status, false, svi << 8 | (*rvi & 0xff), line);
}

void parse_pairs(VmcsDump& dump, Area area, std::string_view text, unsigned line) {
  std::string_view head;
  for (bool first = true; !text.empty(); first = false) {
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) return;
    std::string_view key = trimmed(text.substr(0, equals));
    while (!key.empty() && (key.front() == ',' || key.front() == ' ')) key.remove_prefix(1);
    text.remove_prefix(equals + 1);
    if (first) {
      for (const std::string_view word : {"Sysenter ", "PLE "})
        if (key.starts_with(word)) head = trimmed(word);
      if (const size_t colon = key.find(':'); head.empty() && colon != std::string_view::npos)
        head = key.substr(0, colon);
      if (!head.empty()) key = trimmed(key.substr(std::min(key.size(), head.size() + 1)));
    }
    const auto value = take_hex(text);
    if (!value) {
      dump.problems.push_back({line, "no number after '='", "the log line may be cut off"});
      return;
    }
    if (key == "CS:RIP" && head == "Sysenter") {
      put_sysenter(dump, area, *value, text, line);
    } else if (key == "SVI|RVI") {
      put_interrupt_status(dump, *value, text, line);
    } else if (const auto field = find_key(area, head, key)) {
      dump.put(*field, false, *value, line);
    } else {
      dump.problems.push_back({line, "unknown item in the KVM dump",
                               "a newer kernel's dump may hold items not known here"});
    }
  }
}

// Items that are no VMCS fields: EFER where no control loads it, and the lists of MSRs.
bool is_no_field(std::string_view text) {
  for (const std::string_view mark : {"(effective)", "(autoload)", "msr=0x", "guest autoload",
                                      "guest autostore", "host autoload", "MSR "})
    if (text.find(mark) != std::string_view::npos) return true;
  return false;
}

// Where one part of a log line ends the dump: anything without "key = value" after the control
// state.
bool ends_dump(Area area, std::string_view text) {
  return area == Area::control && !text.empty() && text.find('=') == std::string_view::npos;
}

}  // namespace

bool looks_like_kernel_log(std::string_view text) {
  return text.find(kGuestMark) != std::string_view::npos ||
         text.find(kHostMark) != std::string_view::npos ||
         text.find(kControlMark) != std::string_view::npos;
}

void parse_kernel_log(std::string_view text, VmcsDump& dump) {
  Area area = Area::none;
  // Newer kernels mark each line of the dump; lines of others in between are not looked at.
  bool marked = false;
  for (unsigned number = 1; !text.empty(); ++number) {
    const std::string_view raw = take_line(text);
    if (raw.find(kGuestMark) != std::string_view::npos) {
      area = Area::guest;
      marked = raw.find(kLineMark) != std::string_view::npos;
    } else if (raw.find(kHostMark) != std::string_view::npos) {
      area = Area::host;
    } else if (raw.find(kControlMark) != std::string_view::npos) {
      area = Area::control;
    } else if (area != Area::none && (!marked || raw.find(kLineMark) != std::string_view::npos)) {
      const std::string_view line = without_prefix(raw);
      if (ends_dump(area, line)) area = Area::none;
      if (area != Area::none && !is_no_field(line)) parse_pairs(dump, area, line, number);
      if (dump.give_up(number)) return;
    }
  }
}

}  // namespace cupel::vtx
