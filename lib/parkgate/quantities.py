"""The one table of quantities: what a channel can be, in which unit and scale, and what others call it.

A channel's value is an integer v; the quantity is v × 10^-scale in the unit of this table. A profile may
declare another scale for its channels (its meter's own resolution), never another unit. Console, batch,
hub and documents take names and units from here and nowhere else.

Columns of a row, separated by blanks:

    id       small stable number; never given to another quantity, gaps are for neighbours to come
    name     field terms, the phase or axis last; no phase means the whole connection
    unit     unit of the value
    scale    decimals a channel has when nothing else is declared
    kind     now: a momentary value; sum: a counter that only grows; state: a number that stands for a state
    obis     value groups C.D.E of the OBIS code (IEC 62056-6-1), "-" where there is none that fits
    senml    unit in the IANA registry "SenML Units" (RFC 8428; RFC 8798 for var, Wh, varh, mA, mV …), "-"
             for states; a number behind it is the power of ten that our unit is of that one

A name that ends in t3-8 stands for six quantities, of tariffs 3 to 8: id and E count on with the tariff.

OBIS: C is 1 import, 2 export, 3 and 4 reactive import and export, 5 to 8 reactive energy by quadrant, 9 apparent, 15
the sum of import and export, 11 current, 12 voltage, 13 power factor, 14 frequency, 16 signed active power; 20, 40 or
60 is added for L1, L2, L3. D 4 is a demand, 6 its greatest, 7 is momentary, 8 a counter. E is 0, or the tariff, or
124 for total harmonic distortion. Signed reactive power and line-to-line voltage have no code here: IEC 62056 tells the
quadrants apart instead.
"""

_TABLE = """\
1   voltage                      V     1 now   12.7.0   V
2   voltage_l1                   V     1 now   32.7.0   V
3   voltage_l2                   V     1 now   52.7.0   V
4   voltage_l3                   V     1 now   72.7.0   V
5   current                      A     3 now   11.7.0   A
6   current_l1                   A     3 now   31.7.0   A
7   current_l2                   A     3 now   51.7.0   A
8   current_l3                   A     3 now   71.7.0   A
9   active_power                 W     1 now   16.7.0   W
10  active_power_l1              W     1 now   36.7.0   W
11  active_power_l2              W     1 now   56.7.0   W
12  active_power_l3              W     1 now   76.7.0   W
13  reactive_power               var   1 now   -        var
14  reactive_power_l1            var   1 now   -        var
15  reactive_power_l2            var   1 now   -        var
16  reactive_power_l3            var   1 now   -        var
17  apparent_power               VA    1 now   9.7.0    VA
18  apparent_power_l1            VA    1 now   29.7.0   VA
19  apparent_power_l2            VA    1 now   49.7.0   VA
20  apparent_power_l3            VA    1 now   69.7.0   VA
21  power_factor                 1     3 now   13.7.0   /
22  power_factor_l1              1     3 now   33.7.0   /
23  power_factor_l2              1     3 now   53.7.0   /
24  power_factor_l3              1     3 now   73.7.0   /
25  frequency                    Hz    2 now   14.7.0   Hz
26  phase_angle                  deg   1 now   -        deg
27  current_n                    A     3 now   91.7.0   A
28  voltage_l1_l2                V     1 now   -        V
29  voltage_l2_l3                V     1 now   -        V
30  voltage_l3_l1                V     1 now   -        V
31  voltage_thd                  %     2 now   12.7.124 /100
32  voltage_thd_l1               %     2 now   32.7.124 /100
33  voltage_thd_l2               %     2 now   52.7.124 /100
34  voltage_thd_l3               %     2 now   72.7.124 /100
35  current_thd                  %     2 now   11.7.124 /100
36  current_thd_l1               %     2 now   31.7.124 /100
37  current_thd_l2               %     2 now   51.7.124 /100
38  current_thd_l3               %     2 now   71.7.124 /100
39  active_power_demand          W     1 now   1.4.0    W
40  active_power_demand_max      W     1 now   1.6.0    W
41  import_active_power          W     1 now   1.7.0    W
42  export_active_power          W     1 now   2.7.0    W
43  current_residual             A     3 now   -        A
44  power_quadrant               1     0 state -        -
45  meter_status                 1     0 state -        -
46  serial_number                1     0 state -        -
47  voltage_n                    V     1 now   92.7.0   V
48  voltage_line_to_line         V     1 now   -        V
49  phase_angle_l1               deg   1 now   -        deg
50  phase_angle_l2               deg   1 now   -        deg
51  phase_angle_l3               deg   1 now   -        deg
52  active_power_demand_max_time s     0 state -        -
53  export_active_power_demand   W     1 now   2.4.0    W
54  export_active_power_demand_max W     1 now   2.6.0    W
55  export_active_power_demand_max_time s     0 state -        -
56  reactive_power_demand        var   1 now   -        var
57  reactive_power_demand_max    var   1 now   -        var
58  reactive_power_demand_max_time s     0 state -        -
59  apparent_power_demand        VA    1 now   9.4.0    VA
60  apparent_power_demand_max    VA    1 now   9.6.0    VA
61  apparent_power_demand_max_time s     0 state -        -
62  current_demand               A     3 now   11.4.0   A
63  current_demand_l1            A     3 now   31.4.0   A
64  current_demand_l2            A     3 now   51.4.0   A
65  current_demand_l3            A     3 now   71.4.0   A
66  current_demand_n             A     3 now   91.4.0   A
67  current_demand_max           A     3 now   11.6.0   A
68  current_demand_max_l1        A     3 now   31.6.0   A
69  current_demand_max_l2        A     3 now   51.6.0   A
70  current_demand_max_l3        A     3 now   71.6.0   A
71  current_demand_max_n         A     3 now   91.6.0   A
72  current_demand_max_time      s     0 state -        -
73  import_reactive_power        var   1 now   3.7.0    var
74  export_reactive_power        var   1 now   4.7.0    var
75  displacement_power_factor    1     3 now   -        /
76  displacement_power_factor_l1 1     3 now   -        /
77  displacement_power_factor_l2 1     3 now   -        /
78  displacement_power_factor_l3 1     3 now   -        /
79  voltage_unbalance            %     2 now   -        /100
80  current_unbalance            %     2 now   -        /100
81  ct_ratio                     1     0 state 0.4.2    -
82  vt_ratio                     1     0 state 0.4.3    -
83  tariff                       1     0 state -        -
84  phase_sequence               1     0 state -        -
85  meter_time                   s     0 state -        -
86  voltage_thd_l1_l2            %     2 now   -        /100
87  voltage_thd_l2_l3            %     2 now   -        /100
88  voltage_thd_l3_l1            %     2 now   -        /100
100 import_active_energy         Wh    0 sum   1.8.0    Wh
101 import_active_energy_l1      Wh    0 sum   21.8.0   Wh
102 import_active_energy_l2      Wh    0 sum   41.8.0   Wh
103 import_active_energy_l3      Wh    0 sum   61.8.0   Wh
104 import_active_energy_t1      Wh    0 sum   1.8.1    Wh
105 import_active_energy_t2      Wh    0 sum   1.8.2    Wh
106 export_active_energy         Wh    0 sum   2.8.0    Wh
107 export_active_energy_l1      Wh    0 sum   22.8.0   Wh
108 export_active_energy_l2      Wh    0 sum   42.8.0   Wh
109 export_active_energy_l3      Wh    0 sum   62.8.0   Wh
110 export_active_energy_t1      Wh    0 sum   2.8.1    Wh
111 export_active_energy_t2      Wh    0 sum   2.8.2    Wh
112 absolute_active_energy       Wh    0 sum   15.8.0   Wh
113 absolute_active_energy_l1    Wh    0 sum   35.8.0   Wh
114 absolute_active_energy_l2    Wh    0 sum   55.8.0   Wh
115 absolute_active_energy_l3    Wh    0 sum   75.8.0   Wh
116 absolute_active_energy_t1    Wh    0 sum   15.8.1   Wh
117 absolute_active_energy_t2    Wh    0 sum   15.8.2   Wh
118 import_reactive_energy       varh  0 sum   3.8.0    varh
119 import_reactive_energy_l1    varh  0 sum   23.8.0   varh
120 import_reactive_energy_l2    varh  0 sum   43.8.0   varh
121 import_reactive_energy_l3    varh  0 sum   63.8.0   varh
122 import_reactive_energy_t1    varh  0 sum   3.8.1    varh
123 import_reactive_energy_t2    varh  0 sum   3.8.2    varh
124 export_reactive_energy       varh  0 sum   4.8.0    varh
125 export_reactive_energy_l1    varh  0 sum   24.8.0   varh
126 export_reactive_energy_l2    varh  0 sum   44.8.0   varh
127 export_reactive_energy_l3    varh  0 sum   64.8.0   varh
128 export_reactive_energy_t1    varh  0 sum   4.8.1    varh
129 export_reactive_energy_t2    varh  0 sum   4.8.2    varh
130 absolute_reactive_energy     varh  0 sum   -        varh
131 absolute_reactive_energy_l1  varh  0 sum   -        varh
132 absolute_reactive_energy_l2  varh  0 sum   -        varh
133 absolute_reactive_energy_l3  varh  0 sum   -        varh
134 absolute_reactive_energy_t1  varh  0 sum   -        varh
135 absolute_reactive_energy_t2  varh  0 sum   -        varh
136 import_apparent_energy       VAh   0 sum   9.8.0    kVAh -3
137 import_apparent_energy_l1    VAh   0 sum   29.8.0   kVAh -3
138 import_apparent_energy_l2    VAh   0 sum   49.8.0   kVAh -3
139 import_apparent_energy_l3    VAh   0 sum   69.8.0   kVAh -3
140 import_apparent_energy_t1    VAh   0 sum   9.8.1    kVAh -3
141 import_apparent_energy_t2    VAh   0 sum   9.8.2    kVAh -3
150 pulse_count                  1     0 sum   -        count
151 cycle_count                  1     0 sum   -        count
152 piece_count                  1     0 sum   -        count
153 run_time                     s     0 sum   -        s
154 idle_time                    s     0 sum   -        s
155 alarm_time                   s     0 sum   -        s
156 machine_state                1     0 state -        -
157 alarm_state                  1     0 state -        -
158 input_state                  1     0 state -        -
159 water_volume                 m3    3 sum   -        m3
160 gas_volume                   m3    3 sum   -        m3
161 compressed_air_volume        m3    3 sum   -        m3
162 heat_energy                  Wh    0 sum   -        Wh
163 volume_flow                  l/s   3 now   -        l/s
164 pressure                     Pa    0 now   -        Pa
165 level                        %     1 now   -        /100
166 rotation_speed               1/min 0 now   -        1/min
170 temperature                  Cel   2 now   -        Cel
171 machine_temperature          Cel   2 now   -        Cel
172 ambient_temperature          Cel   2 now   -        Cel
173 dew_point                    Cel   2 now   -        Cel
174 relative_humidity            %RH   1 now   -        %RH
175 air_pressure                 Pa    0 now   -        Pa
176 loop_current                 mA    3 now   -        mA
177 loop_percent                 %     2 now   -        /100
178 sensor_voltage               mV    1 now   -        mV
180 vibration_velocity_rms       mm/s  2 now   -        m/s -3
181 vibration_velocity_rms_x     mm/s  2 now   -        m/s -3
182 vibration_velocity_rms_y     mm/s  2 now   -        m/s -3
183 vibration_velocity_rms_z     mm/s  2 now   -        m/s -3
184 acceleration_rms             m/s2  3 now   -        m/s2
185 acceleration_peak            m/s2  3 now   -        m/s2
186 acceleration_crest           1     2 now   -        /
190 core_temperature             Cel   1 now   -        Cel
191 supply_voltage               mV    0 now   -        mV
192 free_memory                  B     0 now   -        B
193 uptime                       s     0 now   -        s
200 reactive_energy_q1           varh  0 sum   5.8.0    varh
201 reactive_energy_q2           varh  0 sum   6.8.0    varh
202 reactive_energy_q3           varh  0 sum   7.8.0    varh
203 reactive_energy_q4           varh  0 sum   8.8.0    varh
204 net_active_energy            Wh    0 now   16.8.0   Wh
205 net_active_energy_l1         Wh    0 now   36.8.0   Wh
206 net_active_energy_l2         Wh    0 now   56.8.0   Wh
207 net_active_energy_l3         Wh    0 now   76.8.0   Wh
208 net_reactive_energy          varh  0 now   -        varh
209 export_apparent_energy       VAh   0 sum   10.8.0   kVAh -3
210 absolute_apparent_energy     VAh   0 sum   -        kVAh -3
300 import_active_energy_t3-8    Wh    0 sum   1.8.3    Wh
306 export_active_energy_t3-8    Wh    0 sum   2.8.3    Wh
312 absolute_active_energy_t3-8  Wh    0 sum   15.8.3   Wh
318 import_reactive_energy_t3-8  varh  0 sum   3.8.3    varh
324 export_reactive_energy_t3-8  varh  0 sum   4.8.3    varh
330 absolute_reactive_energy_t3-8 varh  0 sum   -        varh
336 import_apparent_energy_t3-8  VAh   0 sum   9.8.3    kVAh -3
342 reactive_energy_q1_t1-8      varh  0 sum   5.8.1    varh
350 reactive_energy_q2_t1-8      varh  0 sum   6.8.1    varh
358 reactive_energy_q3_t1-8      varh  0 sum   7.8.1    varh
366 reactive_energy_q4_t1-8      varh  0 sum   8.8.1    varh
374 net_active_energy_t1-8       Wh    0 now   16.8.1   Wh
382 active_power_demand_max_t1-8 W     1 now   1.6.1    W
390 export_active_power_demand_max_t1-8 W     1 now   2.6.1    W
"""

STATES = ("off", "idle", "run", "alarm")  # machine_state 0..3


class Quantity:
    """One row of the table; the attributes are its columns."""

    __slots__ = ("id", "kind", "name", "obis", "scale", "senml", "senml_exponent", "unit")

    def __init__(self, row, tariff=0):
        columns = row.split()
        name, obis, first = columns[1], columns[5], 0
        if tariff:
            first = int(name[-3])
            name = name[:-3] + str(tariff)
            obis = obis if obis == "-" else obis[:-1] + str(tariff)
        self.id = int(columns[0]) + tariff - first
        self.name = name
        self.unit = columns[2]
        self.scale = int(columns[3])
        self.kind = columns[4]
        self.obis = None if obis == "-" else obis
        self.senml = None if columns[6] == "-" else columns[6]
        self.senml_exponent = int(columns[7]) if len(columns) > 7 else 0

    @property
    def cumulative(self):
        """Whether the value is a counter that only grows (until it rolls over or the meter is exchanged)."""
        return self.kind == "sum"


def find(name):
    """The quantity of this name, or None. The table is one piece of text: a row costs RAM only when used."""
    row = None if name[-2:] == "-8" else _row(name)
    tariff = 0
    if row is None and name[-3:-1] == "_t" and name[-1:].isdigit():
        row = _row(name[:-1] + "3-8") or _row(name[:-1] + "1-8")
        tariff = int(name[-1])
        if row and not int(row.split()[1][-3]) <= tariff <= 8:
            return None
    return Quantity(row, tariff) if row else None


def _row(name):
    """The row of exactly this name, None when there is none."""
    at = _TABLE.find(" " + name + " ")
    if not name or at < 0:
        return None
    start = _TABLE.rfind("\n", 0, at) + 1
    row = _TABLE[start : _TABLE.find("\n", at)]
    return row if row.split()[1] == name else None


def everything():
    """All quantities, those of tariffs behind one another."""
    found = []
    for row in _TABLE.split("\n"):
        if row and row.split()[1][-2:] == "-8":
            found += [Quantity(row, tariff) for tariff in range(int(row.split()[1][-3]), 9)]
        elif row:
            found.append(Quantity(row))
    return found


def unit_exponent(unit, base):
    """The power of ten that `unit` is of `base` (kWh is 3 of Wh, mA is -3 of A), or None if it is not one."""
    if unit == base:
        return 0
    if unit[1:] == base:
        return {"m": -3, "k": 3, "M": 6}.get(unit[0])
    if base[:1] == "m" and unit == base[1:]:
        return 3
    return None
